//! What an expression is when it is made of literals only. minijinja reads it, and what is joined from
//! literals is joined here.

use super::lexer::TemplateToken;
use super::nesting_limits::{MOST_BRACKETS, MOST_LINE, brackets};
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr};
use minijinja::machinery::parse_expr;

/// Most words of an expression that is resolved: what is longer joins no name.
const MOST: usize = 256;

/// The text that an expression is; `None`: it is not made of literals alone, or no text.
pub(super) fn text(words: &[(TemplateToken<'_>, u64)]) -> Option<String> {
    if let [(TemplateToken::Text(text), _)] = words {
        return Some(text.clone());
    }
    let is_text = |(word, _): &(TemplateToken<'_>, u64)| matches!(word, TemplateToken::Text(_));
    if words.len() > MOST || brackets(words) > MOST_BRACKETS || !words.iter().any(is_text) {
        return None;
    }
    let expression = written(words);
    if expression.len() > MOST_LINE {
        return joined(words);
    }
    let parsed = parse_expr(&expression).ok()?;
    of(&parsed).or_else(|| joined(words))
}

/// The strings of an expression one behind the other, where there is nothing but signs between them.
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

/// The expression as minijinja reads it: strings have the escapes that it knows.
fn written(words: &[(TemplateToken<'_>, u64)]) -> String {
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

fn of(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Const(constant) => constant.value.as_str().map(str::to_owned),
        Expr::BinOp(pair) => match pair.op {
            BinOpKind::Concat | BinOpKind::Add => Some(of(&pair.left)? + &of(&pair.right)?),
            BinOpKind::Rem => {
                let arguments = match &pair.right {
                    Expr::Tuple(tuple) => tuple.items.iter().map(of).collect::<Option<Vec<_>>>()?,
                    single => vec![of(single)?],
                };
                Some(filled(&of(&pair.left)?, "%s", &arguments))
            }
            _ => None,
        },
        Expr::Filter(filter) => {
            let over = filter.expr.as_ref()?;
            match filter.name {
                "join" => Some(items(over)?.join(&first(&filter.args).unwrap_or_default())),
                "format" => Some(filled(&of(over)?, "%s", &arguments(&filter.args)?)),
                "string" | "safe" | "trim" => of(over),
                "lower" => Some(of(over)?.to_lowercase()),
                "upper" => Some(of(over)?.to_uppercase()),
                "reverse" => Some(of(over)?.chars().rev().collect()),
                _ => None,
            }
        }
        Expr::Call(call) => {
            let Expr::GetAttr(method) = &call.expr else { return None };
            let over = of(&method.expr)?;
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
        Expr::List(list) => list.items.iter().map(of).collect(),
        Expr::Tuple(tuple) => tuple.items.iter().map(of).collect(),
        _ => None,
    }
}

fn arguments(arguments: &[CallArg<'_>]) -> Option<Vec<String>> {
    let one = |argument: &CallArg<'_>| match argument {
        CallArg::Pos(expression) => of(expression),
        _ => None,
    };
    arguments.iter().map(one).collect()
}

fn first(of_call: &[CallArg<'_>]) -> Option<String> {
    arguments(of_call)?.into_iter().next()
}

/// A text with its places filled in order.
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
