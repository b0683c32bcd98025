//! Scans a template for attempts to escape the sandbox.

use super::fold;
use super::lexer::{Tag, TemplateToken, tags};
use super::names::{is_keyword, is_known};
use super::nesting_limits::NestingLimits;
use crate::error::CodeError;
use crate::findings::FileFindings;
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of names that are kept of a template.
const MAX_KEPT: usize = 64;
/// The largest number of names that a template may define before its calls are no longer reported.
const MAX_DEFINED: usize = 4096;

type Tokens<'t, 'a> = &'t [(TemplateToken<'a>, u64)];

/// An access to a name that begins with an underscore.
struct SandboxEscape {
    name: String,
    how: &'static str,
    line: u64,
}

#[derive(Default)]
struct TemplateScan {
    escapes: Vec<SandboxEscape>,
    /// A text that would access a name if it were used as a format string.
    format: Option<(String, u64)>,
    /// Whether any text is used as a format string.
    formats: bool,
    called: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// The variables that were set to a text that begins with an underscore, with the text and the line.
    underscored: BTreeMap<String, (String, u64)>,
    /// The variables that are used as subscripts.
    subscripts: BTreeSet<String>,
    depth: NestingLimits,
}

/// Reports the findings in a template, each cause once.
pub(super) fn scan(label: &str, text: &str, findings: &mut FileFindings) {
    let mut scan = TemplateScan::default();
    tags(text, |tag| scan.tag(tag));
    if let (true, Some((name, line))) = (scan.formats, scan.format.take()) {
        scan.escapes.push(SandboxEscape { name, how: "with a format string", line });
    }
    for (variable, (name, line)) in std::mem::take(&mut scan.underscored) {
        if scan.subscripts.contains(&variable) {
            scan.named(&name, line);
        }
    }
    let template = label.to_owned();
    for SandboxEscape { name, how, line } in scan.escapes {
        findings.other.push(CodeError::Escape { template: template.clone(), name, how, line });
    }
    let called = scan.called.difference(&scan.defined).cloned();
    let names: Vec<String> = called.filter(|_| scan.defined.len() < MAX_DEFINED).collect();
    if !names.is_empty() {
        findings.other.push(CodeError::UnknownFunction { template: template.clone(), names });
    }
    if let Some(reason) = scan.depth.fault(text) {
        findings.other.push(CodeError::Unparsed { template, reason });
    }
}

impl TemplateScan {
    fn tag(&mut self, tag: &Tag<'_>) {
        self.depth.check_tag(tag);
        self.define(&tag.words);
        for at in 0..tag.words.len() {
            self.word(&tag.words, at);
        }
        self.strings(&tag.words);
    }

    fn escape(&mut self, name: &str, how: &'static str, line: u64) {
        let is_new = self.escapes.iter().all(|escape| escape.name != name || escape.how != how);
        if is_new && self.escapes.len() < MAX_KEPT {
            self.escapes.push(SandboxEscape { name: name.to_owned(), how, line });
        }
    }

    /// Reports a text that is an internal name: wherever it is used, its purpose is an access.
    fn named(&mut self, name: &str, line: u64) {
        if self.escapes.iter().all(|escape| escape.name != name) {
            self.escape(name, "as a string", line);
        }
    }

    /// Checks one token in its context.
    fn word(&mut self, words: Tokens<'_, '_>, at: usize) {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).map(|(word, _)| word);
        let Some((word, line)) = words.get(at) else { return };
        let follows = |sign| words.get(at + 1).is_some_and(|(word, _)| word.is(sign));
        match word {
            TemplateToken::Name(name) if before.is_some_and(|before| before.is('.')) => {
                if name.starts_with('_') {
                    self.escape(name, "as an attribute", *line);
                }
                self.formats |= matches!(*name, "format" | "format_map");
            }
            TemplateToken::Name(name) if before.is_some_and(|before| before.is('|')) => {
                self.filter(name, inside(words, at + 1), *line);
            }
            TemplateToken::Name(name) if follows('(') => self.call(name, before),
            TemplateToken::Text(text) if is_internal(text) => self.named(text, *line),
            TemplateToken::Sign('[') if before.is_some_and(is_value) => {
                let within = inside(words, at);
                let subscript = fold::text(within).unwrap_or_default();
                self.formats |= matches!(subscript.as_str(), "format" | "format_map");
                if subscript.starts_with('_') {
                    self.escape(&subscript, "by subscript", *line);
                }
                match within {
                    // The values of variables are checked at the end.
                    [(TemplateToken::Name(variable), _)] => {
                        _ = self.subscripts.insert((*variable).to_owned())
                    }
                    // A text that is chosen, cut or repeated is used for an access as well.
                    [_] => {}
                    _ => {
                        let is_cut = within.iter().any(|(word, _)| word.is('['));
                        let reaches = |text: &str| {
                            is_underscored(match is_cut {
                                true => text.trim_start_matches(char::is_alphanumeric),
                                false => text,
                            })
                        };
                        for (text, line) in texts(within).filter(|(text, _)| reaches(text)) {
                            self.named(text, line);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, name: &str, before: Option<&TemplateToken<'_>>) {
        // Tests can have brackets as well, and macros are definitions.
        let other = matches!(
            before.and_then(TemplateToken::name),
            Some("is" | "not" | "macro" | "call" | "block" | "filter" | "import")
        );
        let is_not = before.and_then(TemplateToken::name) == Some("not");
        if (!other || is_not)
            && !is_keyword(name)
            && !is_known(name)
            && self.called.len() < MAX_KEPT
        {
            self.called.insert(name.to_owned());
        }
    }

    /// Checks a filter that takes the name of an attribute.
    fn filter(&mut self, name: &str, arguments: Tokens<'_, '_>, line: u64) {
        let arguments = split_arguments(arguments);
        let text = |at: usize| arguments.get(at).and_then(|words| fold::text(words));
        let by_place = match name {
            "attr" | "selectattr" | "rejectattr" | "groupby" | "sum" => text(0),
            "map" if text(0).as_deref() == Some("attr") => text(1),
            "join" | "unique" | "max" | "min" => text(1),
            "sort" => text(2),
            _ => None,
        };
        let by_name = arguments.iter().filter_map(|words| match words {
            [
                (TemplateToken::Name("attribute" | "name"), _),
                (TemplateToken::Sign('='), _),
                value @ ..,
            ] => fold::text(value),
            _ => None,
        });
        for reached in by_place.into_iter().chain(by_name) {
            if reached.split('.').any(|part| part.starts_with('_')) {
                self.escape(&reached, "with a filter", line);
            }
            self.formats |= matches!(reached.as_str(), "format" | "format_map");
        }
        // Unpacked arguments: `**{'attribute': …}`.
        let unpacked = arguments.iter().filter(|words| words.iter().any(|(word, _)| word.is('{')));
        for (text, line) in unpacked.flat_map(|words| texts(words)) {
            if is_underscored(text) {
                self.named(text, line);
            }
        }
    }

    /// Checks strings and concatenations of strings for internal names and format strings.
    fn strings(&mut self, words: Tokens<'_, '_>) {
        let is_joint = |word: &TemplateToken<'_>| {
            matches!(word, TemplateToken::Text(_) | TemplateToken::Sign('~' | '+' | '(' | ')'))
        };
        for run in words.split(|(word, _)| !is_joint(word)) {
            let Some((_, line)) = run.first() else { continue };
            let Some(text) = fold::joined(run) else { continue };
            if is_internal(&text) {
                self.named(&text, *line);
            }
            if self.format.is_none()
                && let Some(name) = reached_by_format(&text)
            {
                self.format = Some((name.to_owned(), *line));
            }
        }
    }

    /// Records the names that a tag defines.
    fn define(&mut self, words: Tokens<'_, '_>) {
        let Some(name) = words.first().and_then(|(word, _)| word.name()) else { return };
        let until: fn(&TemplateToken<'_>) -> bool = match name {
            "set" => |word| word.is('='),
            "for" => |word| word.name() == Some("in"),
            "macro" | "call" | "with" | "import" | "from" => |_| false,
            _ => return,
        };
        if let [_, (TemplateToken::Name(variable), line), (TemplateToken::Sign('='), _), value @ ..] =
            words
            && let Some(text) = fold::text(value).filter(|text| is_underscored(text))
            && self.underscored.len() < MAX_KEPT
        {
            self.underscored.insert((*variable).to_owned(), (text, *line));
        }
        for (word, _) in words.iter().skip(1).take_while(|(word, _)| !until(word)) {
            if let Some(name) = word.name().filter(|_| self.defined.len() < MAX_DEFINED) {
                self.defined.insert(name.to_owned());
            }
        }
    }
}

/// The texts of an expression with their lines.
fn texts<'t>(words: Tokens<'t, '_>) -> impl Iterator<Item = (&'t str, u64)> {
    words.iter().filter_map(|(word, line)| match word {
        TemplateToken::Text(text) => Some((text.as_str(), *line)),
        _ => None,
    })
}

/// Whether a text is a name that begins with an underscore.
fn is_underscored(text: &str) -> bool {
    let word = text.trim_start_matches('_');
    word.len() < text.len()
        && !word.is_empty()
        && word.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Whether a text is an internal name of Python: two underscores, a word, two underscores.
fn is_internal(text: &str) -> bool {
    let word = text.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    word.is_some_and(|word| {
        !word.is_empty() && word.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    })
}

/// Whether a token ends a value, so that a bracket after it is a subscript.
fn is_value(word: &TemplateToken<'_>) -> bool {
    match word {
        TemplateToken::Name(name) => !is_keyword(name),
        TemplateToken::Text(_) | TemplateToken::Number(_) => true,
        TemplateToken::Sign(sign) => matches!(sign, ')' | ']' | '}'),
    }
}

/// The tokens in the brackets that open at `at`, or nothing if there are none.
fn inside<'t, 'a>(words: Tokens<'t, 'a>, at: usize) -> Tokens<'t, 'a> {
    /// Longer expressions do not build a name; their tokens are checked one by one.
    const MAX_TOKENS: usize = 256;
    let Some((TemplateToken::Sign('(' | '['), _)) = words.get(at) else { return &[] };
    let rest = words.get(at + 1..).unwrap_or_default();
    let mut open = 0usize;
    for (length, (word, _)) in rest.iter().enumerate().take(MAX_TOKENS) {
        match word {
            TemplateToken::Sign('(' | '[' | '{') => open += 1,
            TemplateToken::Sign(')' | ']' | '}') if open == 0 => {
                return rest.get(..length).unwrap_or_default();
            }
            TemplateToken::Sign(')' | ']' | '}') => open -= 1,
            _ => {}
        }
    }
    &[]
}

/// Splits the tokens of the arguments of a call.
fn split_arguments<'t, 'a>(words: Tokens<'t, 'a>) -> Vec<Tokens<'t, 'a>> {
    let mut open = 0usize;
    words
        .split(|(word, _)| {
            match word {
                TemplateToken::Sign('(' | '[' | '{') => open += 1,
                TemplateToken::Sign(')' | ']' | '}') => open = open.saturating_sub(1),
                _ => {}
            }
            open == 0 && word.is(',')
        })
        .collect()
}

/// The name with an underscore that a format string accesses, if there is one.
fn reached_by_format(text: &str) -> Option<&str> {
    text.split('{').skip(1).find_map(|place| {
        let place = place.split(['}', '!', ':']).next()?;
        let reached = |at: usize| place.get(at + 1..).filter(|rest| rest.starts_with('_'));
        let name = place.match_indices(['.', '[']).find_map(|(at, _)| reached(at))?;
        name.split(['.', '[', ']']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_format::StructureError;

    fn rules(text: &str) -> Vec<&'static str> {
        let mut findings = FileFindings::default();
        scan("it", text, &mut findings);
        findings.other.iter().map(|error| error.rule().0).collect()
    }

    const ESCAPE: &str = "content/template-escape";

    #[test]
    fn names_with_an_underscore_are_reached_in_many_ways() {
        for text in [
            "{{ messages._private }}",
            "{% if messages . _private %}{% endif %}",
            "{{ messages['_private'] }}",
            "{{ messages[\"_\" ~ 'private'] }}",
            "{{ messages['_' + 'pri' + 'vate'] }}",
            "{{ messages['%s%s' % ('_', 'private')] }}",
            r"{{ messages['\x5fprivate'] }}",
            "{{ (messages)[('_private')] }}",
            "{{ messages | attr('_private') }}",
            "{{ messages | attr('_' ~ 'private') }}",
            "{{ messages | map(attribute='_private') | list }}",
            "{{ messages | map('attr', '_private') | list }}",
            "{{ messages | selectattr('_private') | list }}",
            "{{ messages | sort(attribute='content._private') }}",
            "{{ '{0._private}'.format(messages) }}",
            "{{ ('{0.' ~ '_private}').format(messages) }}",
            "{% set f = '{m[_private]}' %}{{ f.format_map(x) }}",
            "{{ messages[0]._private }}",
            "{{ f()._private }}",
            "{% set k = '__class__' %}{{ messages[k] }}",
            "{% set k = '__cl' ~ 'ass__' %}{{ messages[k] }}",
            "{% for k in ['__class__'] %}{{ messages[k] }}{% endfor %}",
            "{% set k='_private' %}{{ messages[k] }}",
            "{{ messages['_private' if true else 'x'] }}",
            "{{ messages['x_private'[1:]] }}",
            "{{ messages['_private'*1] }}",
            "{{ messages|join('','_private') }}",
            "{{ messages|sort(false,false,'_private') }}",
            "{{ messages|map(**{'attribute':'_private'}) }}",
        ] {
            assert_eq!(rules(text).iter().filter(|rule| **rule == ESCAPE).count(), 1, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_looked_through() {
        let text = "{% generation %}{{ messages._private }}{% endgeneration %}";
        assert_eq!(rules(text), [ESCAPE, "content/template-unparsed"]);
        assert_eq!(rules("{{ a & messages._private }}"), [ESCAPE, "content/template-unparsed"]);
    }

    #[test]
    fn plain_templates_are_quiet() {
        for text in [
            "{% for m in messages %}{{ m['role'] }}: {{ m.content | trim }}{% endfor %}",
            "{{ x.split('</think>')[-1].lstrip('\\n') }}{{ d.items() | list }}{{ d.get('_x') }}",
            "{% set ns = namespace(_x=1) %}{{ ns.x }}{% set _ = a %}{{ _private }}",
            "{% macro f(a, b) %}{{ a }}{% endmacro %}{{ f(1, 2) }}{{ range(3) }}",
            "{{ raise_exception('a._private') }}{{ ['_private'] }}{{ {'_private': 1} }}",
            "{% if a is defined and b is not none %}{{ 'x' in ['_y'] }}{% endif %}",
            "{{ 'a._b' ~ '{x}' }}{{ '%s_%s' % (a, b) }}{{ 'x{}'.format(a) }}",
            "{{ x | map('replace', '_', ' ') | join('_') }}{{ x | replace('_', '-') }}",
            "._private {# {{ a._private }} #}{% raw %}{{ a._private }}{% endraw %}",
            "{% set k = 'my_key' %}{{ x[k] }}{{ x['a_b' if y else 'c_d'] }}{{ x|sort(attribute='a_b') }}",
            "{{ x[:1] }}{{ x['a_b'] }}{{ 1.5 }}{% for x in ['_a', '_b'] %}{% endfor %}",
        ] {
            assert_eq!(rules(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn unknown_functions_are_remarks() {
        assert_eq!(rules("{{ unknown_function(1) }}"), ["content/template-unknown"]);
        assert_eq!(rules("{{ a if not unknown_function(1) }}"), ["content/template-unknown"]);
        assert_eq!(
            rules("{{ a.method(1) }}{{ a | filter_of_loader(1) }}{{ a is test(1) }}"),
            [""; 0]
        );
    }

    #[test]
    fn reports_of_hostile_templates_are_bounded() {
        let many: String =
            (0..10_000).map(|at| format!("{{{{ a._x{at} }}}}{{{{ f{at}() }}}}")).collect();
        assert!(rules(&many).len() < 40);
        let long = format!("{{{{ a[{}'_x'] }}}}", "'_' ~ ".repeat(300_000));
        rules(&long);
        rules(&"{{ a[".repeat(200_000));
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), jinja in "(\\{\\{ | \\}\\}|\\{% | %\\}|if |set |for |in |macro |not |_x|'|\"|\\.|\\[|\\]|\\(|\\)|\\{0\\._x\\}|\\||attr|~|\\+|%|,|=|-|é){0,40}") {
            rules(&text);
            rules(&jinja);
        }
    }
}
