//! Standard output and standard error: colours only where somebody sees them, no panic where nobody reads.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Standard output. A reader that is gone is no failure: there is nobody to be told.
#[derive(Debug)]
pub(crate) struct Output {
    ink: Ink,
    closed: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { ink: Ink::of(io::stdout().is_terminal()), closed: false }
    }

    pub(crate) fn ink(&self) -> Ink {
        self.ink
    }

    /// Whether the reader is gone. Whoever writes on and on ends then.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Outcome<()> {
        self.write(&format!("{}\n", line.as_ref()))
    }

    /// One value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Outcome<()> {
        self.line(json_line(value)?)
    }

    pub(crate) fn write(&mut self, text: &str) -> Outcome<()> {
        if self.closed {
            return Ok(());
        }
        let written = io::stdout().write_all(text.as_bytes());
        self.check(written)
    }

    pub(crate) fn finish(&mut self) -> Outcome<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = io::stdout().flush();
        self.check(flushed)
    }

    fn check(&mut self, written: io::Result<()>) -> Outcome<()> {
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::could_not("output", format!("standard output cannot be written: {error}"))),
        }
    }
}

/// One value as JSON on one line.
///
/// Characters that could steer a terminal or turn a text around are escaped, as JSON allows: what is asked for as JSON is
/// looked at, too. It stands for the same value.
pub(crate) fn json_line(value: &impl Serialize) -> Outcome<String> {
    let json = serde_json::to_string(value);
    let json = json.map_err(|error| Failure::could_not("internal", format!("no JSON for this: {error}")))?;
    Ok(inert(&json))
}

/// The same JSON, with nothing in it that a terminal could take for an order, that turns a text around or that hides.
pub(crate) fn inert(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        // Below U+0020 the writer of JSON has done it.
        let steers = matches!(character, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if steers {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line
}

/// Says something on standard error.
pub(crate) fn to_people(text: &str) {
    // Nobody is left to be told that standard error is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether somebody can be asked: they see standard error, and can type.
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes. Anything else, the end of the input included, is none.
pub(crate) fn asks_yes(question: &str) -> Outcome<bool> {
    let cannot = |error| Failure::could_not("no_terminal", format!("the question cannot be asked: {error}"));
    let mut error = io::stderr();
    write!(error, "{question} [y/N] ").and_then(|()| error.flush()).map_err(cannot)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(cannot)?;
    // A line that was not ended with Enter was not finished.
    let Some(answer) = line.strip_suffix('\n') else {
        to_people("");
        return Ok(false);
    };
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// Columns of a terminal that does not say how many it has.
const WIDTH: usize = 80;

/// Columns of the terminal of this process, by the system's own word.
fn width() -> usize {
    static COLUMNS: OnceLock<usize> = OnceLock::new();
    *COLUMNS.get_or_init(|| {
        let terminal = File::open("/dev/tty").ok();
        let asked = terminal
            .and_then(|terminal| Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok());
        let said = asked.and_then(|output| String::from_utf8(output.stdout).ok());
        let columns = said.and_then(|said| said.split_whitespace().nth(1)?.parse().ok());
        columns.filter(|columns| *columns > 0).unwrap_or(WIDTH).clamp(20, 1000)
    })
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ink {
    colours: bool,
    terminal: bool,
}

impl Ink {
    fn of(terminal: bool) -> Self {
        let asked_for_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: terminal && !asked_for_none, terminal }
    }

    /// The colours of standard error.
    pub(crate) fn of_questions() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// Folds a text that is shown behind this many columns.
    ///
    /// A terminal would go on at the start of its next line, where a text with enough spaces passes for one of kern's
    /// own. What is piped stays on its line.
    pub(crate) fn fold(self, text: &str, behind: usize) -> Vec<String> {
        if !self.terminal {
            return vec![text.to_owned()];
        }
        let width = width().saturating_sub(behind).max(8);
        let (mut lines, mut columns) = (vec![String::new()], 0);
        for character in text.chars() {
            // What is not ASCII may be wide.
            let wide = if character.is_ascii() { 1 } else { 2 };
            if columns + wide > width {
                lines.push(String::new());
                columns = 0;
            }
            lines.last_mut().expect("there is always a last line").push(character);
            columns += wide;
        }
        lines
    }

    /// A line of a list: what does not fit goes on behind a mark.
    pub(crate) fn listed(self, line: &str) -> String {
        let parts: Vec<_> = self.fold(line, 4).iter().map(|part| part.trim_end().to_owned()).collect();
        parts.join(&format!("\n  {} ", self.dim("│")))
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
