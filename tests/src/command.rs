//! The command `kern`, built once and run as a process of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The built command. Cargo hands a test only the programs of its own package, so it is asked to build this one.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "kern", "--features", "cli", "--bin", "kern", "--locked", "--message-format=json"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo builds the command");
    assert!(output.status.success(), "cargo could not build the command");
    let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs =
        built.filter(|message| message["target"]["kind"][0] == "bin" && message["target"]["name"] == "kern");
    let program = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.expect("cargo names the program it built")
});

/// The path of the command.
#[must_use]
pub fn program() -> &'static Path {
    &PROGRAM
}

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

impl Said {
    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is something else, or the command failed.
    #[must_use]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON, {error}: {self:?}"))
    }

    /// The code of the error that was said as JSON.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn error_code(&self) -> String {
        let error: Value = serde_json::from_str(&self.error).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        error["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }
}

/// The command `kern` on one store.
#[derive(Clone, Debug)]
pub struct Kern {
    db: Option<OsString>,
    env: Vec<(String, String)>,
}

impl Kern {
    /// On this store.
    #[must_use]
    pub fn on(db: impl AsRef<OsStr>) -> Self {
        Self { db: Some(db.as_ref().to_owned()), env: Vec::new() }
    }

    /// On no store.
    #[must_use]
    pub fn on_nothing() -> Self {
        Self { db: None, env: Vec::new() }
    }

    /// With this variable set.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command with these words, not started, with nobody to ask.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).env_remove("KERN_DB").env_remove("NO_COLOR").stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(db) = &self.db {
            command.arg("--db").arg(db);
        }
        command
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// When it does not start, does not speak UTF-8, or a signal ends it.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().expect("the command starts");
        Said {
            code: output.status.code().unwrap_or_else(|| panic!("{words:?} ended with {}", output.status)),
            out: String::from_utf8(output.stdout).expect("it speaks UTF-8"),
            error: String::from_utf8(output.stderr).expect("it speaks UTF-8"),
        }
    }

    /// Runs it with `--json`.
    #[must_use]
    pub fn json(&self, words: &[&str]) -> Said {
        self.run(&[words, &["--json"]].concat())
    }

    /// Starts it with its output piped.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
    }

    /// Runs it on a pseudo terminal. When `until` is seen, `first` is run, and then `keys` are typed. The terminal has the
    /// columns of the variable `TEST_COLUMNS`, or does not say how many it has.
    ///
    /// # Panics
    ///
    /// When there is no python3, which opens the terminal.
    #[must_use]
    pub fn on_a_terminal(&self, words: &[&str], until: &str, first: &[&str], keys: &str) -> Said {
        let mut python = Command::new("python3");
        python.args(["-c", TERMINAL, until, keys]);
        python.arg(serde_json::to_string(first).expect("words are JSON"));
        let command = self.command(words);
        python.arg(command.get_program()).args(command.get_args());
        python.env_remove("KERN_DB").env_remove("NO_COLOR").env("TERM", "xterm");
        python.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = python.output().expect("python3 opens a pseudo terminal");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).expect("the helper speaks JSON");
        let code = said["code"].as_i64().and_then(|code| i32::try_from(code).ok()).expect("an exit code");
        let out = said["output"].as_str().expect("an output").replace("\r\n", "\n");
        Said { code, out, error: String::new() }
    }
}

/// Runs a program on a pseudo terminal of its own, for at most a minute.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, signal, struct, subprocess, sys, termios
until, keys, first, program = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
child, terminal = pty.fork()
if child == 0:
    columns = int(os.environ.pop("TEST_COLUMNS", "0"))
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    # Whoever starts the tests in the background has SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(program[0], program)
signal.signal(signal.SIGALRM, lambda *_: (os.kill(child, signal.SIGKILL), sys.exit("it did not end")))
signal.alarm(60)
seen, typed = b"", False
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    if not typed and until.encode() in seen:
        typed = True
        if first:
            subprocess.run(first, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.write(terminal, keys.encode())
_, status = os.waitpid(child, 0)
print(json.dumps({"output": seen.decode(), "code": os.waitstatus_to_exitcode(status)}))
"#;
