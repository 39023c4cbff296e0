//! The command `kern`: approvals, executions and the audit log of a store, from a shell.
//!
//! Exit codes: 0, 1 (the answer is no), 2 (it could not be done). Results go to standard output; questions and errors to
//! standard error.

mod approvals;
mod arguments;
mod audit;
mod call;
mod checkpoint;
mod clock;
mod database;
mod decide;
mod doctor;
mod erase;
mod executions;
mod failure;
mod hosts;
mod keys;
mod output;
mod pools;
mod restore;
mod watch;
mod words;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use kern::display;

use arguments::{Approvals, Arguments, Audit, Command, Executions, Hosts, Keys, Pools, Runs};
use database::Database;
use failure::{Answer, Failure, Outcome};
use output::Output;

fn main() -> ExitCode {
    let mut output = Output::new();
    let code = match Arguments::try_parse() {
        Ok(arguments) => {
            let json = arguments.json;
            match start(&mut output, arguments) {
                Ok(answer) => answer.code(),
                Err(failure) => failure.report(json),
            }
        }
        Err(error) => usage(&mut output, &error),
    };
    ExitCode::from(code)
}

fn start(output: &mut Output, arguments: Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::could_not("internal", format!("cannot start: {error}")))?;
    let answer = runtime.block_on(run(output, arguments));
    output.finish()?;
    answer
}

async fn run(output: &mut Output, arguments: Arguments) -> Outcome {
    let Arguments { db, json, command } = arguments;
    if let Command::Executions { command: Executions::Settle(settle) } = &command {
        executions::check(settle)?;
    }
    // These need no store.
    if let Command::Audit { command } = &command {
        match command {
            Audit::Keygen { key } => return checkpoint::keygen(output, key, json),
            Audit::Verify { checkpoint, pubkey, file: Some(file) } => {
                let kept = checkpoint::Kept::read(checkpoint.as_deref(), pubkey.as_deref())?;
                return checkpoint::verify_file(output, file, kept, json);
            }
            _ => {}
        }
    }
    let database = Database::named(db)?;
    let answer = on_store(output, &database, command, json).await;
    if let Err(error) = database.close().await {
        output::to_people(&format!(
            "the command is done, and the store could not be closed: {}",
            failure::chain(&error)
        ));
    }
    answer
}

/// The commands about a store.
async fn on_store(output: &mut Output, database: &Database, command: Command, json: bool) -> Outcome {
    match command {
        Command::Approvals { command } => match command {
            Approvals::List(list) => approvals::list(output, &*database.open().await?, list, json).await,
            Approvals::Show { id } => approvals::show(output, &*database.open().await?, &id, json).await,
            Approvals::Approve(approve) => decide::approve(output, database, approve, json).await,
            Approvals::Reject(reject) => decide::reject(output, database, reject, json).await,
            Approvals::Watch { interval } => watch::watch(output, &*database.open().await?, interval, json).await,
        },
        Command::Executions { command } => match command {
            Executions::List(list) => executions::list(output, &*database.open().await?, list, json).await,
            Executions::Settle(settle) => executions::settle(output, &*database.open().await?, settle, json).await,
        },
        Command::Pools { command } => match command {
            Pools::List => pools::list(output, &*database.open().await?, json).await,
            Pools::Set(set) => pools::set(output, &*database.open().await?, set, json).await,
        },
        Command::Hosts { command } => match command {
            Hosts::List => hosts::list(output, &*database.open().await?, json).await,
            Hosts::Retire(request) => hosts::retire(output, &*database.open().await?, request, json).await,
        },
        Command::Keys { command } => match command {
            Keys::Create(create) => keys::create(output, database, create, json).await,
            Keys::List => keys::list(output, &*database.open().await?, json).await,
            Keys::Revoke(revoke) => keys::revoke(output, database, revoke, json).await,
        },
        Command::Clock(clock) => clock::clock(output, &*database.open().await?, clock, json).await,
        Command::Doctor => doctor::doctor(output, database, json).await,
        Command::Runs { command: Runs::Acknowledge(request) } => {
            restore::acknowledge(output, &*database.open().await?, request, json).await
        }
        Command::Restore(request) => restore::restore(output, database, request, json).await,
        Command::Audit { command } => match command {
            Audit::Verify { checkpoint, pubkey, .. } => {
                let kept = checkpoint::Kept::read(checkpoint.as_deref(), pubkey.as_deref())?;
                audit::verify(output, &*database.open().await?, kept, json).await
            }
            Audit::Checkpoint { key, output: file } => {
                let key = checkpoint::key(key.as_deref())?;
                checkpoint::make(output, &*database.open().await?, &key, file, json).await
            }
            Audit::Keygen { key } => checkpoint::keygen(output, &key, json),
            Audit::Export { output: file } => {
                audit::export(output, &*database.open().await?, file.as_deref(), json).await
            }
            Audit::Erase(erase) => erase::erase(output, database, erase, json).await,
        },
    }
}

/// What clap has to say: the help that was asked for, or what is wrong with the words given.
fn usage(output: &mut Output, error: &clap::Error) -> u8 {
    // An argument may hold anything, and clap repeats it.
    let rendered = error.render().to_string();
    let lines: Vec<String> = rendered.lines().map(|line| display::text(line).to_string()).collect();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let written = lines.iter().try_for_each(|line| output.line(line));
        return match written.and_then(|()| output.finish()) {
            Ok(()) => Answer::Done.code(),
            Err(failure) => failure.report(false),
        };
    }
    // Not parsed, so looked for: a program that asked for JSON gets JSON.
    let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
    if json {
        let said = lines.first().map_or("", |line| line.strip_prefix("error: ").unwrap_or(line));
        return Failure::could_not("usage", said.to_owned()).report(true);
    }
    output::to_people(&lines.join("\n"));
    Failure::COULD_NOT
}
