//! The demonstration that `cargo run` starts: a server with an agent to talk to and an inbox. With `--terminal`, `--yes` or
//! `--no` the same story is played in the terminal: two calls wait for an administrator, you decide, the run goes on, and
//! the audit log shows every step.

mod log;
mod page;
mod server;
mod story;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use page::Page;
use story::Answers;

const HELP: &str = "\
kern: an agent to talk to, and an inbox for what it may not do alone

Usage: cargo run [-- OPTIONS]

Options:
  --port PORT  the port of 127.0.0.1 to serve [default: 7777]
  --terminal   play the story in this terminal instead: two calls wait, you decide
  --yes        the same, and approve both calls without asking
  --no         the same, and reject both calls without asking
  --db PATH    the SQLite file to use [default: kern.db]
  -h, --help   show this

With OPENAI_API_KEY set, the server's agent has a real model.
A second start finds what the first one left waiting.";

/// The port that is served where none is named.
const PORT: u16 = 7777;

struct Options {
    /// How the story is played in the terminal. `None`: a server is started.
    answers: Option<Answers>,
    port: Option<u16>,
    db: PathBuf,
}

enum Asked {
    Run(Options),
    Help,
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options { answers: None, port: None, db: PathBuf::from("kern.db") };
    let set = |answers: &mut Option<Answers>, to: Answers| {
        if answers.is_some_and(|already| already != to) {
            return Err("`--terminal`, `--yes` and `--no` exclude each other".to_owned());
        }
        *answers = Some(to);
        Ok(())
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--terminal" => set(&mut options.answers, Answers::Ask)?,
            "--yes" => set(&mut options.answers, Answers::Yes)?,
            "--no" => set(&mut options.answers, Answers::No)?,
            "--port" => {
                let port = words.next().and_then(|port| port.parse().ok());
                options.port = Some(port.ok_or("`--port` takes a number from 0 to 65535")?);
            }
            "--db" => options.db = words.next().ok_or("`--db` takes a path")?.into(),
            "-h" | "--help" => return Ok(Asked::Help),
            other => return Err(format!("unknown option `{other}`, see `--help`")),
        }
    }
    if options.answers.is_some() && options.port.is_some() {
        return Err("`--port` is the server's, which the story in the terminal has none of".to_owned());
    }
    Ok(Asked::Run(options))
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut page = Page::new(std::io::stdout().is_terminal());
    match options(std::env::args().skip(1)) {
        Err(wrong) => {
            page.problem(&wrong);
            ExitCode::from(2)
        }
        Ok(Asked::Help) => {
            page.line(HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(options)) => match start(&mut page, options).await {
            Ok(code) => code,
            Err(error) => {
                page.problem(&error);
                ExitCode::from(2)
            }
        },
    }
}

async fn start(page: &mut Page, options: Options) -> Result<ExitCode, String> {
    let Some(answers) = options.answers else {
        server::serve(page, &options.db, options.port.unwrap_or(PORT)).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let intact = story::play(page, answers, &options.db).await?;
    Ok(ExitCode::from(u8::from(!intact)))
}
