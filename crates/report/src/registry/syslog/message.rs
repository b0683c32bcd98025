//! A syslog message (RFC 5424).

use super::target::Facility;
use crate::safe_text;
use jiff::Timestamp;

/// Greatest length of a message in bytes, which every receiver should accept (RFC 5424, section 6.1).
pub(super) const LONGEST: usize = 2048;

/// Greatest length of an escaped parameter value in bytes. All parameters together leave room for the text.
const VALUE: usize = 160;

/// Marks a text that was cut.
const CUT: &str = "…";

/// The id of the structured data (section 7: a name, `@` and a private enterprise number). The number is the one that
/// RFC 5612 reserves for examples, because the program has no number assigned.
pub(super) const SD_ID: &str = "tensorseal@32473";

/// The severity of a message (section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
}

/// The sender of messages.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Name of this machine, or empty if it is not known.
    pub host: String,
    /// Number of this process.
    pub process: u32,
    /// The facility of the messages.
    pub facility: Facility,
}

impl Origin {
    /// Returns the current process on this machine.
    pub fn here(facility: Facility) -> Origin {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Origin { host, process: std::process::id(), facility }
    }
}

/// A message before it is formatted.
pub(super) struct Message {
    kind: &'static str,
    level: Level,
    parameters: String,
    text: String,
}

impl Message {
    /// Creates a message of a kind (MSGID) and a level.
    pub(super) fn new(kind: &'static str, level: Level, text: &str) -> Message {
        let text = safe_text::clipped(text, safe_text::MESSAGE);
        Message { kind, level, parameters: String::new(), text }
    }

    /// Adds a parameter. `name` must be a valid parameter name of the standard.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Message {
        self.parameters += &format!(" {name}=\"{}\"", escaped(value));
        self
    }

    /// Adds a parameter if it has a value.
    pub(super) fn with_some(self, name: &'static str, value: Option<&str>) -> Message {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Formats the message. Its text is cut so that the message has at most [`LONGEST`] bytes.
    pub(super) fn format(&self, origin: &Origin, now: Timestamp) -> Vec<u8> {
        let priority = origin.facility.number() * 8 + self.level as u8;
        let mut out = format!(
            "<{priority}>1 {now:.6} {} tensorseal {} {} [origin software=\"tensorseal\" \
             swVersion=\"{}\"][{SD_ID}{}] ",
            header(&origin.host, 255),
            origin.process,
            self.kind,
            env!("CARGO_PKG_VERSION"),
            self.parameters,
        );
        // UTF-8 text begins with a byte order mark (section 6.4).
        out.push('\u{feff}');
        let room = LONGEST.saturating_sub(out.len());
        out.push_str(&cut(&self.text, room));
        out.into_bytes()
    }
}

/// Returns a header field: the printable US-ASCII characters of a text, or the nil value.
fn header(text: &str, longest: usize) -> String {
    let printable: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if printable.is_empty() { "-".to_owned() } else { printable }
}

/// Escapes quotes, backslashes and brackets in the value of a parameter (section 6.3.3).
fn escaped(value: &str) -> String {
    let shown = safe_text::clipped(value, VALUE);
    let mut out = String::new();
    for c in shown.chars() {
        let escape = if matches!(c, '"' | '\\' | ']') { 1 } else { 0 };
        if out.len() + escape + c.len_utf8() > VALUE - CUT.len() {
            out.push_str(CUT);
            break;
        }
        if escape > 0 {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Cuts a text to a number of bytes at a character boundary.
fn cut(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let room = room.saturating_sub(CUT.len());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin {
            host: "node-1.example.com".to_owned(),
            process: 4711,
            facility: Facility::default(),
        }
    }

    fn text(message: &Message) -> String {
        String::from_utf8(message.format(&origin(), sample_registry::time(0))).unwrap()
    }

    #[test]
    fn a_message_has_its_fields_in_order() {
        let message = Message::new("FINDING", Level::Critical, "größer").with("model", "a\"b\\c]d");
        assert_eq!(
            text(&message),
            format!(
                "<130>1 2026-12-01T08:00:00.000000Z node-1.example.com tensorseal 4711 FINDING \
                 [origin software=\"tensorseal\" swVersion=\"{}\"]\
                 [tensorseal@32473 model=\"a\\\"b\\\\c\\]d\"] \u{feff}größer",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn the_name_of_a_machine_is_a_word() {
        assert_eq!(header("a b\nc", 255), "abc");
        assert_eq!(header("", 255), "-");
        assert_eq!(header("größe", 255), "gre");
        assert_eq!(header(&"h".repeat(300), 255).len(), 255);
    }

    /// Values of our structured data, read as the standard says.
    fn values(message: &str) -> Option<Vec<String>> {
        let (_, mut rest) = message.split_once(&format!("][{SD_ID}"))?;
        let mut values = Vec::new();
        while let Some(parameter) = rest.strip_prefix(' ') {
            let (_, value) = parameter.split_once("=\"")?;
            let mut out = String::new();
            let mut chars = value.char_indices();
            loop {
                match chars.next()? {
                    (at, '"') => {
                        rest = &value[at + 1..];
                        break;
                    }
                    (_, '\\') => out.push(chars.next()?.1),
                    (_, ']') => return None,
                    (_, c) => out.push(c),
                }
            }
            values.push(out);
        }
        rest.starts_with("] \u{feff}").then_some(values)
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_and_nothing_is_too_long(
            value in any::<String>(),
            evil in "[\\]\\[\"\\\\= <>a\u{1f}\u{7f}\u{feff}ß𝔸-]{0,600}",
        ) {
            let value = format!("{evil}{value}");
            let mut message = Message::new("FINDING", Level::Notice, &value.repeat(8));
            for _ in 0..8 {
                message = message.with("name", &value);
            }
            let bytes = message.format(&origin(), sample_registry::time(0));
            prop_assert!(bytes.len() <= LONGEST);
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(!text.contains(char::is_control));
            let found = values(&text).unwrap();
            prop_assert_eq!(found.len(), 8);
            let shown = safe_text::clipped(&value, VALUE);
            let cut = found[0].strip_suffix(CUT).unwrap_or(&found[0]);
            prop_assert!(shown.starts_with(cut), "{} {}", shown, cut);
        }
    }
}
