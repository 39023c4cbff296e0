//! The demonstration that `cargo run` starts: two calls wait for an administrator, you decide, the run goes on, and the
//! audit log shows every step.

mod log;
mod page;
mod story;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use page::Page;
use story::Answers;

const HELP: &str = "\
kern: two tool calls wait for an administrator, you decide, the run goes on

Usage: cargo run [-- OPTIONS]

Options:
  --yes        approve both calls without asking
  --no         reject both calls without asking
  --db PATH    the SQLite file to use [default: kern.db]
  -h, --help   show this

A second start finds what the first one left waiting.";

struct Options {
    answers: Answers,
    db: PathBuf,
}

enum Asked {
    Run(Options),
    Help,
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options { answers: Answers::Ask, db: PathBuf::from("kern.db") };
    let set = |answers: &mut Answers, to: Answers| {
        if *answers != Answers::Ask && *answers != to {
            return Err("`--yes` and `--no` exclude each other".to_owned());
        }
        *answers = to;
        Ok(())
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--yes" => set(&mut options.answers, Answers::Yes)?,
            "--no" => set(&mut options.answers, Answers::No)?,
            "--db" => options.db = words.next().ok_or("`--db` takes a path")?.into(),
            "-h" | "--help" => return Ok(Asked::Help),
            other => return Err(format!("unknown option `{other}`, see `--help`")),
        }
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
        Ok(Asked::Run(options)) => match story::play(&mut page, options.answers, &options.db).await {
            Ok(intact) => ExitCode::from(u8::from(!intact)),
            Err(error) => {
                page.problem(&error);
                ExitCode::from(2)
            }
        },
    }
}
