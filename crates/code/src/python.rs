//! Checks Python files for calls that run when the module is imported.

use super::file_name;
use super::findings::{FileFindings, Reasons};
use super::lazy_file::LazyFile;
use tensorseal_base::display::display_name;
use tensorseal_format::OpenError;

/// Whether a file is a Python file.
pub(super) fn is_python(path: &str) -> bool {
    path.ends_with(".py")
}

/// Checks a Python file.
pub(super) fn scan(source: &LazyFile<'_>, findings: &mut FileFindings) -> Result<(), OpenError> {
    let path = &source.file.path;
    findings.code.push(role(path).to_owned());
    let Some(bytes) = source.whole()? else {
        findings.too_long(source.file.bytes);
        return Ok(());
    };
    let mut calls = Reasons::default();
    calls_on_import(bytes, &mut |name, line| {
        calls.push(format!("{} in line {line}", display_name(&String::from_utf8_lossy(name))));
    });
    if !calls.is_empty() {
        findings.code.push(format!("calls on import: {}", calls.summary()));
    }
    Ok(())
}

/// What runs the file, as far as its path tells.
fn role(path: &str) -> &'static str {
    let in_folder = |folder: &str| path.split('/').rev().skip(1).any(|part| part == folder);
    match file_name(path) {
        _ if in_folder("custom_generate") => "Python code, which transformers runs for generation",
        "handler.py" => "Python code, which inference endpoints run",
        _ if in_folder("code") => "Python code, which MLflow and inference endpoints import",
        "pipeline.py" => "Python code, which diffusers loads as the pipeline",
        _ => "Python code",
    }
}

/// The keywords before a bracket that is not a call.
const KEYWORDS: [&[u8]; 27] = [
    b"and", b"as", b"assert", b"async", b"await", b"case", b"del", b"elif", b"else", b"except",
    b"finally", b"for", b"from", b"global", b"if", b"import", b"in", b"is", b"lambda", b"match",
    b"not", b"or", b"raise", b"return", b"while", b"with", b"yield",
];

/// Passes each call that runs on import to `call`, without calls in functions and in `if __name__ …`. The arguments
/// are the name before the bracket and the line, counted from 1.
fn calls_on_import(text: &[u8], call: &mut dyn FnMut(&[u8], u64)) {
    let mut lexer = PythonLexer { text, at: 0, line: 1 };
    // The statements with a deeper indentation do not run.
    let mut body: Option<usize> = None;
    while let Some(indent) = lexer.statement() {
        if body.is_some_and(|body| indent > body) {
            lexer.each_word(&mut |_| true);
            continue;
        }
        let mut statement = PythonStatement { text, ..PythonStatement::default() };
        lexer.each_word(&mut |word| statement.word(word, call));
        body = statement.is_not_run.then_some(indent);
    }
}

/// A token of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PythonToken {
    /// A name: its position and its line.
    Name([usize; 2], u64),
    /// A string or a number.
    Value,
    /// Any other character.
    Sign(u8),
}

#[derive(Default)]
struct PythonStatement<'t> {
    text: &'t [u8],
    words: u64,
    last: Option<PythonToken>,
    /// The dotted name that ends here: its start and end, and its line.
    name: Option<([usize; 2], u64)>,
    /// Whether the next name is a definition.
    defines: bool,
    is_definition: bool,
    open: usize,
    /// Whether the rest of the statement and the statements in it do not run on import.
    is_not_run: bool,
    starts_with_if: bool,
}

impl PythonStatement<'_> {
    /// Takes the next token. Returns `false` if the rest of the statement does not run.
    fn word(&mut self, word: PythonToken, call: &mut dyn FnMut(&[u8], u64)) -> bool {
        let is_first = self.words == 0;
        self.words += 1;
        match word {
            PythonToken::Name(place, line) => self.name(place, line, is_first),
            PythonToken::Sign(sign) => {
                if sign == b'('
                    && let Some((place, line)) = self.name.take()
                {
                    call(self.part(place), line);
                }
                match sign {
                    b'(' | b'[' | b'{' => self.open += 1,
                    b')' | b']' | b'}' => self.open = self.open.saturating_sub(1),
                    b':' if self.open == 0 && self.is_definition => self.is_not_run = true,
                    _ => {}
                }
                if sign != b'.' {
                    self.name = None;
                }
            }
            PythonToken::Value => self.name = None,
        }
        self.last = Some(word);
        !self.is_not_run
    }

    fn name(&mut self, place: [usize; 2], line: u64, is_first: bool) {
        let name = self.part(place);
        let (defines, is_main) = (
            name == b"def" || name == b"class",
            self.starts_with_if && self.words == 2 && name == b"__name__",
        );
        let is_def = name == b"def" && (is_first || self.words == 2);
        let is_keyword = KEYWORDS.contains(&name);
        let is_if = is_first && name == b"if";
        let dotted = self.last == Some(PythonToken::Sign(b'.'));
        let start = self.name.filter(|_| dotted).map_or(place[0], |(whole, _)| whole[0]);
        self.is_definition |= is_def;
        self.starts_with_if |= is_if;
        self.is_not_run |= is_main;
        let is_new = std::mem::replace(&mut self.defines, defines);
        let is_name = !is_new && !defines && (!is_keyword || dotted);
        self.name = is_name.then_some(([start, place[1]], line));
    }

    fn part(&self, [start, end]: [usize; 2]) -> &[u8] {
        self.text.get(start..end).unwrap_or_default()
    }
}

struct PythonLexer<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl PythonLexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn advance(&mut self) -> Option<u8> {
        let byte = self.peek(0)?;
        self.line += u64::from(byte == b'\n');
        self.at += 1;
        Some(byte)
    }

    /// Advances to the next statement and returns its indentation.
    fn statement(&mut self) -> Option<usize> {
        if self.at == 0 && self.text.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        let mut indent = 0;
        loop {
            match self.peek(0)? {
                b' ' => indent += 1,
                b'\t' => indent = indent / 8 * 8 + 8,
                b'\n' | b'\r' | b'\x0c' => indent = 0,
                b'#' => {
                    self.comment();
                    continue;
                }
                _ => return Some(indent),
            }
            self.advance();
        }
    }

    fn comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.advance();
        }
    }

    /// Passes the tokens up to the end of the statement to `take`, until it returns `false`.
    fn each_word(&mut self, take: &mut dyn FnMut(PythonToken) -> bool) {
        let mut open = 0usize;
        let mut continues = true;
        while let Some(byte) = self.peek(0) {
            let word = match byte {
                b'\n' if open == 0 => return,
                b'#' => {
                    self.comment();
                    continue;
                }
                b'\\' => {
                    self.advance();
                    self.advance();
                    continue;
                }
                byte if byte.is_ascii_whitespace() || byte == b'\x0c' => {
                    self.advance();
                    continue;
                }
                b'\'' | b'"' => {
                    self.string(byte);
                    PythonToken::Value
                }
                byte if is_part(byte) => self.name_or_number(byte),
                sign => {
                    match sign {
                        b'(' | b'[' | b'{' => open += 1,
                        b')' | b']' | b'}' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    self.advance();
                    PythonToken::Sign(sign)
                }
            };
            continues = continues && take(word);
        }
    }

    fn name_or_number(&mut self, first: u8) -> PythonToken {
        let (start, line) = (self.at, self.line);
        while self.peek(0).is_some_and(is_part) {
            self.advance();
        }
        let is_prefix = self.at - start <= 2
            && self.text[start..self.at].iter().all(|byte| b"rRbBfFuUtT".contains(byte));
        match self.peek(0) {
            Some(quote @ (b'\'' | b'"')) if is_prefix => {
                self.string(quote);
                PythonToken::Value
            }
            _ if first.is_ascii_digit() => PythonToken::Value,
            _ => PythonToken::Name([start, self.at], line),
        }
    }

    /// Skips a string.
    fn string(&mut self, quote: u8) {
        let is_long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let quote_len = if is_long { 3 } else { 1 };
        self.at += quote_len;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => {
                    self.advance();
                    self.advance();
                }
                // A short string ends at the end of the line.
                b'\n' if !is_long => return,
                byte if byte == quote
                    && (!is_long || self.peek(1) == Some(quote) && self.peek(2) == Some(quote)) =>
                {
                    self.at += quote_len;
                    return;
                }
                _ => {
                    self.advance();
                }
            }
        }
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calls(text: &str) -> Vec<String> {
        let mut calls = Vec::new();
        calls_on_import(text.as_bytes(), &mut |name, line| {
            calls.push(format!("{}:{line}", String::from_utf8_lossy(name)));
        });
        calls
    }

    #[test]
    fn calls_of_a_module_have_their_lines() {
        let text = "import os\nfrom a import (\n    b,\n)\n\nx = nonexistent_module.call(1)\n\n\
            class A(Base):\n    field = make(2)\n    def f(self, y=default()):\n        inner()\n\
            if x:\n    third(\n        fourth(3))\n@decorated(1)\ndef g(): inner()\nlast()\n";
        let expected = [
            "nonexistent_module.call:6",
            "make:9",
            "default:10",
            "third:13",
            "fourth:14",
            "decorated:15",
            "last:17",
        ];
        assert_eq!(calls(text), expected);
    }

    #[test]
    fn what_does_not_run_on_import_is_quiet() {
        let text = "# call()\n\"\"\"call()\n\"\"\"\nx = 'call()' 'it\\'s ('\ny = rb\"call(\"\nz = (1 + 2)\n\
            def f():\n  return g(\n  h())\nasync def i():\n\tj()\nif __name__ == \"__main__\":\n    main()\n\
            class A(B, metaclass=C):\n    x: int = 1\nfor a in (1, 2):\n    pass\nassert (a)\n";
        assert_eq!(calls(text), [""; 0]);
    }

    #[test]
    fn lines_are_those_of_python() {
        assert_eq!(calls("x = 1 + \\\n  f()\n"), ["f:2"]);
        assert_eq!(calls("a.b . c(1)"), ["a.b . c:1"]);
        assert_eq!(calls("\u{feff}f()\r\n\tg()"), ["f:1", "g:2"]);
        assert_eq!(calls("é.ü()"), ["é.ü:1"]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(def |class |if |x|\\(|\\)|:|\n|    |'|\"\"\"|#|\\\\|\\.|__name__| ){0,60}") {
            calls_on_import(&bytes, &mut |_, _| {});
            calls(&text);
        }
    }
}
