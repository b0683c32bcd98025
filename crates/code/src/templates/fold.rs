//! Evaluates expressions that consist only of literals. minijinja parses them.

use super::lexer::TemplateToken;
use super::nesting_limits::{MAX_BRACKETS, MAX_LINE, brackets};
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr};
use minijinja::machinery::parse_expr;

/// The largest number of tokens in an expression that is evaluated. Longer expressions do not build a name.
const MAX_TOKENS: usize = 256;

/// The text value of an expression, or `None` if it has other parts than literals or is not a text.
pub(super) fn text(words: &[(TemplateToken<'_>, u64)]) -> Option<String> {
    if let [(TemplateToken::Text(text), _)] = words {
        return Some(text.clone());
    }
    let is_text = |(word, _): &(TemplateToken<'_>, u64)| matches!(word, TemplateToken::Text(_));
    if words.len() > MAX_TOKENS || brackets(words) > MAX_BRACKETS || !words.iter().any(is_text) {
        return None;
    }
    let expression = source(words);
    if expression.len() > MAX_LINE {
        return joined(words);
    }
    let parsed = parse_expr(&expression).ok()?;
    evaluate(&parsed).or_else(|| joined(words))
}

/// The concatenated strings of an expression, if there are only operators and brackets between them.
pub(super) fn joined(words: &[(TemplateToken<'_>, u64)]) -> Option<String> {
    let mut all = String::new();
    for (word, _) in words {
        match word {
            TemplateToken::Text(text) => all.push_str(text),
            TemplateToken::Sign('~' | '+' | '(' | ')') => {}
            _ => return None,
        }
    }
    Some(all)
}

/// The source of the expression for minijinja, with the escapes that it supports.
fn source(words: &[(TemplateToken<'_>, u64)]) -> String {
    let mut text = String::new();
    for (word, _) in words {
        match word {
            TemplateToken::Name(name) | TemplateToken::Number(name) => {
                text.push(' ');
                text.push_str(name);
                text.push(' ');
            }
            TemplateToken::Text(value) => {
                text.push_str(&serde_json::Value::from(value.as_str()).to_string());
            }
            TemplateToken::Sign(sign) => text.push(*sign),
        }
    }
    text
}

fn evaluate(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Const(constant) => constant.value.as_str().map(str::to_owned),
        Expr::BinOp(pair) => match pair.op {
            BinOpKind::Concat | BinOpKind::Add => {
                Some(evaluate(&pair.left)? + &evaluate(&pair.right)?)
            }
            BinOpKind::Rem => {
                let arguments = match &pair.right {
                    Expr::Tuple(tuple) => {
                        tuple.items.iter().map(evaluate).collect::<Option<Vec<_>>>()?
                    }
                    single => vec![evaluate(single)?],
                };
                Some(filled(&evaluate(&pair.left)?, "%s", &arguments))
            }
            _ => None,
        },
        Expr::Filter(filter) => {
            let over = filter.expr.as_ref()?;
            match filter.name {
                "join" => Some(items(over)?.join(&first(&filter.args).unwrap_or_default())),
                "format" => Some(filled(&evaluate(over)?, "%s", &arguments(&filter.args)?)),
                "string" | "safe" | "trim" => evaluate(over),
                "lower" => Some(evaluate(over)?.to_lowercase()),
                "upper" => Some(evaluate(over)?.to_uppercase()),
                "reverse" => Some(evaluate(over)?.chars().rev().collect()),
                _ => None,
            }
        }
        Expr::Call(call) => {
            let Expr::GetAttr(method) = &call.expr else { return None };
            let over = evaluate(&method.expr)?;
            match method.name {
                "join" => match call.args.as_slice() {
                    [CallArg::Pos(list)] => Some(items(list)?.join(&over)),
                    _ => None,
                },
                "format" => Some(filled(&over, "{}", &arguments(&call.args)?)),
                "lower" => Some(over.to_lowercase()),
                "upper" => Some(over.to_uppercase()),
                "strip" | "lstrip" | "rstrip" => Some(over),
                _ => None,
            }
        }
        _ => None,
    }
}

fn items(list: &Expr<'_>) -> Option<Vec<String>> {
    match list {
        Expr::List(list) => list.items.iter().map(evaluate).collect(),
        Expr::Tuple(tuple) => tuple.items.iter().map(evaluate).collect(),
        _ => None,
    }
}

fn arguments(arguments: &[CallArg<'_>]) -> Option<Vec<String>> {
    let one = |argument: &CallArg<'_>| match argument {
        CallArg::Pos(expression) => evaluate(expression),
        _ => None,
    };
    arguments.iter().map(one).collect()
}

fn first(of_call: &[CallArg<'_>]) -> Option<String> {
    arguments(of_call)?.into_iter().next()
}

/// Replaces the placeholders of a text in order.
fn filled(text: &str, place: &str, arguments: &[String]) -> String {
    let mut arguments = arguments.iter();
    let mut parts = text.split(place);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str(arguments.next().map_or(place, String::as_str));
        filled.push_str(part);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tags;
    use super::*;

    fn folded(expression: &str) -> Option<String> {
        let mut found = None;
        tags(&format!("{{{{ {expression} }}}}"), |tag| found = text(&tag.words));
        found
    }

    #[test]
    fn literals_are_joined() {
        for expression in [
            "'a_b'",
            "'a' ~ '_b'",
            "'a' + '_' + 'b'",
            "('a' ~ ('_' + 'b'))",
            "'a' '_b'",
            "'a%s%s' % ('_', 'b')",
            "'a%sb' % '_'",
            "['a', 'b'] | join('_')",
            "'_'.join(['a', 'b'])",
            "'a{}b'.format('_')",
            "'a%sb' | format('_')",
            "'A_B' | lower",
            r"'a\x5fb'",
        ] {
            assert_eq!(folded(expression).as_deref(), Some("a_b"), "{expression}");
        }
        let long = format!("'{}' ~ 'x' & 1", "a".repeat(70_000));
        assert_eq!(folded(&long), None);
        for expression in ["a", "'a' ~ b", "1", "'a' * 3", "['a']", "'a'[0]", ""] {
            assert_eq!(folded(expression), None, "{expression}");
        }
    }
}
