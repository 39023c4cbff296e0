//! What a person is shown of what others wrote: arguments, names, notes, results.
//!
//! A text that somebody else wrote must not steer the terminal or the page that shows it, and must not look like another
//! text. What could do that is written as its number, and said in a [`Warning`]. Nothing is left out and nothing is cut
//! off. There are no terminal codes and no HTML in what comes out: a page still has to escape it for HTML, as any text.
//!
//! ```
//! use kern::display::{self, WarningKind};
//! use serde_json::json;
//!
//! let shown = display::value(&json!({ "user_id": "u_42\u{202e}" }));
//! assert_eq!(shown.one_line(), r#"{"user_id":"u_42\u202e"}"#);
//! assert_eq!(shown.warnings[0].kind, WarningKind::Bidirectional);
//! assert_eq!(shown.warnings[0].to_string(), "/user_id: 1 character that changes the direction of the text");
//! ```
//!
//! What it does not find: a letter of the Latin script that looks like another one (`l` and `I`, `ı` and `i`), and a text
//! that is wholly in another script and holds a letter that no Latin one looks like.

mod characters;

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};

pub use characters::WarningKind;
use characters::{concerns, escape};

/// What is safe to show, and what to say beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// What to show, in lines one below the other. None holds a line break.
    pub lines: Vec<String>,
    /// How much there is. `None` for a number, a yes or no, or nothing.
    pub size: Option<Size>,
    /// What was escaped, and where.
    pub warnings: Vec<Warning>,
    #[serde(skip)]
    one_line: String,
}

impl Shown {
    /// Everything on one line. Of a [`value`], this is JSON that stands for the very same value.
    #[must_use]
    pub fn one_line(&self) -> &str {
        &self.one_line
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line)
    }
}

/// How much a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Size {
    /// Characters of a text, before any of them was escaped.
    Characters(usize),
    /// Items of an array.
    Items(usize),
    /// Fields of an object.
    Fields(usize),
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, one, many) = match self {
            Self::Characters(count) => (*count, "character", "characters"),
            Self::Items(count) => (*count, "item", "items"),
            Self::Fields(count) => (*count, "field", "fields"),
        };
        write!(f, "{} {}", grouped(count), if count == 1 { one } else { many })
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Something that was escaped, because it could make the text look like another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// What it is.
    pub kind: WarningKind,
    /// How many there are.
    pub count: usize,
    /// Where: a JSON pointer, itself safe to show. Empty for the whole text.
    pub place: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{} {}", grouped(self.count), self.kind.words(self.count))
    }
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Argument {
    /// Its name.
    pub name: Shown,
    /// Its value. Where it is [redacted](Self::redacted), only that it is.
    pub value: Shown,
    /// Whether the value is sensitive, and so not shown.
    pub redacted: bool,
}

/// Shows a text on one line, as it is where it can be: a name, a note, an id.
#[must_use]
pub fn text(text: &str) -> Shown {
    let mut painter = Painter::default();
    painter.characters(text, "", |out, character| out.push(character));
    let Painter { out, warnings } = painter;
    let size = Some(Size::Characters(text.chars().count()));
    Shown { lines: vec![out.clone()], size, warnings, one_line: out }
}

/// Shows a JSON value: in `lines` indented, on `one_line` as compact JSON. A text is one line for each of its own.
#[must_use]
pub fn value(value: &Value) -> Shown {
    let mut compact = Painter::default();
    compact.value(value, "", None);
    let lines = match value {
        // A line break is shown, and followed: fifty lines on one cannot be read.
        Value::String(_) => broken(&compact.out),
        Value::Array(_) | Value::Object(_) => {
            let mut pretty = Painter::default();
            pretty.value(value, "", Some(0));
            pretty.out.lines().map(str::to_owned).collect()
        }
        _ => vec![compact.out.clone()],
    };
    let size = match value {
        Value::String(text) => Some(Size::Characters(text.chars().count())),
        Value::Array(items) => Some(Size::Items(items.len())),
        Value::Object(fields) => Some(Size::Fields(fields.len())),
        _ => None,
    };
    Shown { lines, size, warnings: compact.warnings, one_line: compact.out }
}

/// Shows the arguments of a call, each by itself. Those named in `sensitive` are redacted.
#[must_use]
pub fn arguments<S: AsRef<str>>(arguments: &Map<String, Value>, sensitive: &[S]) -> Vec<Argument> {
    arguments
        .iter()
        .map(|(name, content)| {
            let redacted = sensitive.iter().any(|sensitive| sensitive.as_ref() == name);
            // Not even its size: that of a secret says something about it.
            let shown = if redacted { Shown { size: None, ..text("(sensitive, not shown)") } } else { value(content) };
            Argument { name: text(name), value: shown, redacted }
        })
        .collect()
}

/// Breaks a JSON string behind each of its escaped line breaks.
fn broken(json: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        let line = lines.last_mut().expect("there is always a last line");
        line.push(character);
        if character != '\\' {
            continue;
        }
        let Some(escaped) = characters.next() else { break };
        line.push(escaped);
        if escaped == 'n' && characters.as_str() != "\"" {
            lines.push(String::new());
        }
    }
    lines
}

/// Writes texts and values, and keeps what to warn of.
#[derive(Default)]
struct Painter {
    out: String,
    warnings: Vec<Warning>,
}

impl Painter {
    /// Writes the characters of a text; `plain` writes those that are safe to show.
    fn characters(&mut self, text: &str, place: &str, mut plain: impl FnMut(&mut String, char)) {
        for (character, concern) in text.chars().zip(concerns(text)) {
            let Some(kind) = concern else {
                plain(&mut self.out, character);
                continue;
            };
            escape(&mut self.out, character);
            // A place is written at once: its warnings are the last ones.
            let mut here = self.warnings.iter_mut().rev().take_while(|warning| warning.place == place);
            match here.find(|warning| warning.kind == kind) {
                Some(warning) => warning.count += 1,
                None => self.warnings.push(Warning { kind, count: 1, place: place.to_owned() }),
            }
        }
    }

    fn string(&mut self, text: &str, place: &str) {
        self.out.push('"');
        self.characters(text, place, |out, character| {
            if matches!(character, '"' | '\\') {
                out.push('\\');
            }
            out.push(character);
        });
        self.out.push('"');
    }

    /// Writes a value, compact or indented by this many steps.
    fn value(&mut self, value: &Value, place: &str, indent: Option<usize>) {
        match value {
            Value::String(text) => self.string(text, place),
            Value::Array(items) => self.list(items.len(), ['[', ']'], indent, |painter, number, inner| {
                painter.value(&items[number], &format!("{place}/{number}"), inner);
            }),
            Value::Object(fields) => {
                let fields: Vec<_> = fields.iter().collect();
                self.list(fields.len(), ['{', '}'], indent, |painter, number, inner| {
                    let (name, value) = fields[number];
                    let place = format!("{place}/{}", text(&name.replace('~', "~0").replace('/', "~1")));
                    painter.string(name, &place);
                    painter.out.push_str(if inner.is_some() { ": " } else { ":" });
                    painter.value(value, &place, inner);
                });
            }
            plain => write!(self.out, "{plain}").expect("a string takes everything"),
        }
    }

    fn list(
        &mut self,
        count: usize,
        [open, close]: [char; 2],
        indent: Option<usize>,
        item: impl Fn(&mut Self, usize, Option<usize>),
    ) {
        let inner = indent.map(|steps| steps + 1);
        self.out.push(open);
        for number in 0..count {
            if number > 0 {
                self.out.push(',');
            }
            self.new_line(inner);
            item(self, number, inner);
        }
        if count > 0 {
            self.new_line(indent);
        }
        self.out.push(close);
    }

    fn new_line(&mut self, indent: Option<usize>) {
        if let Some(steps) = indent {
            self.out.push('\n');
            self.out.push_str(&"  ".repeat(steps));
        }
    }
}

#[cfg(test)]
mod tests;
