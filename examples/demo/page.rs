//! What the demonstration prints: colours on a terminal, plain text elsewhere, and nothing that a tool's arguments
//! could steer.

use std::io::Write as _;

/// Where the demonstration prints to.
pub(crate) struct Page {
    colours: bool,
}

/// How a piece of text is meant.
#[derive(Clone, Copy)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Good,
    Bad,
    Waiting,
}

impl Page {
    /// Colours only where somebody can see them and has not asked for none.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { colours: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Prints a line. A reader that is gone (a closed pipe) ends the program quietly.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        if writeln!(std::io::stdout(), "{}", text.as_ref()).is_err() {
            std::process::exit(0);
        }
    }

    /// Prints without a line's end, for a question.
    pub(crate) fn ask(&mut self, text: &str) {
        let mut out = std::io::stdout();
        if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Prints one of the facts that a start begins with.
    pub(crate) fn label(&mut self, name: &str, text: impl AsRef<str>) {
        self.line(format!("{}  {}", self.ink(Ink::Dim, &format!("{name:<7}")), text.as_ref()));
    }

    pub(crate) fn problem(&mut self, text: &str) {
        // Nothing can be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "kern: {text}");
    }

    pub(crate) fn heading(&mut self, text: &str) {
        let text = self.ink(Ink::Bold, text);
        self.line(format!("\n{text}"));
    }

    pub(crate) fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Good => "32",
            Ink::Bad => "31",
            Ink::Waiting => "33",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A number of calls, and the verb that goes with it.
pub(crate) fn calls(count: usize, one: &'static str, many: &'static str) -> (String, &'static str) {
    if count == 1 { ("1 call".to_owned(), one) } else { (format!("{count} calls"), many) }
}

/// Makes a text harmless to look at.
pub(crate) fn visible(text: &str) -> String {
    kern::display::text(text).one_line().to_owned()
}
