//! Other processes on the same store.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::ledger;

/// A child that is killed, and waited for, when this is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a program with a store's ledger.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(program: &str, ledger_file: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        Self::start_with(program, ledger_file, arguments, None)
    }

    /// Starts a program with a store's ledger and one more variable.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_with(
        program: &str,
        ledger_file: &Path,
        arguments: &[&dyn AsRef<OsStr>],
        variable: Option<(&str, &str)>,
    ) -> Self {
        let mut command = Command::new(program);
        for argument in arguments {
            command.arg(argument);
        }
        command.env(ledger::FILE, ledger_file).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(variable);
        let mut child = command.spawn().expect("the worker starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, input, output }
    }

    /// Reads its next line.
    ///
    /// # Panics
    ///
    /// When it ended without one.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).expect("the worker's output can be read");
        assert!(read > 0, "the worker ended without a word: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    /// Sends it a line.
    ///
    /// # Panics
    ///
    /// When it does not take it.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is piped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the worker takes a line");
    }

    /// Reads all it still says, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn rest(mut self) -> Vec<String> {
        self.input = None;
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("the worker's output can be read");
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "the worker ended with {status}: {text}");
        text.lines().map(str::to_owned).collect()
    }

    /// Sends it a signal, by name: `STOP`, `CONT`.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("there is a `kill`").success(), "{name} cannot be sent");
    }

    /// Ends it as `kill -9` does, and gives the whole lines that it had said and nobody had read.
    ///
    /// # Panics
    ///
    /// When it has ended before.
    pub fn kill(mut self) -> Vec<String> {
        assert!(matches!(self.child.try_wait(), Ok(None)), "it was to be killed, and ended before");
        self.child.kill().expect("a living child can be killed");
        self.child.wait().expect("a child can be waited for");
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("what it said can be read");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
