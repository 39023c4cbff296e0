//! `kern doctor`: checks a store, and says of each thing that is wrong what to do about it.

use kern::db::{Db, Quarantine};
use kern::display;
use serde_json::{Value, json};

use crate::database::Database;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::Output;

/// The code of a check that found nothing.
const OK: &str = "ok";

/// The result of one check.
#[derive(Debug)]
struct Check {
    name: &'static str,
    code: &'static str,
    /// What was found.
    found: String,
    /// What to do about it. `None`: nothing is wrong.
    action: Option<&'static str>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, code: OK, found: found.into(), action: None }
    }

    fn wrong(name: &'static str, code: &'static str, found: impl Into<String>, action: &'static str) -> Self {
        Self { name, code, found: found.into(), action: Some(action) }
    }

    fn shown(&self) -> Value {
        json!({ "check": self.name, "code": self.code, "found": self.found, "action": self.action })
    }
}

/// Checks the schema, the clock and the mark of a store.
pub(crate) async fn doctor(output: &mut Output, database: &Database, json: bool) -> Outcome {
    let mut checks = Vec::new();
    match database.open().await {
        Ok(db) => {
            checks.push(Check::ok("schema", "the tables are those of this build"));
            checks.push(clock(&*db).await?);
            checks.push(mark(&*db).await?);
        }
        Err(failure) => checks.push(schema(failure)?),
    }
    for check in &checks {
        if json {
            output.json(&check.shown())?;
        } else {
            let line = format!("{:<8} {:<14} {}", check.name, check.code, check.found);
            let line = check.action.map_or(line.clone(), |action| format!("{line}: {action}"));
            output.line(display::text(&line).to_string())?;
        }
    }
    let is_sound = checks.iter().all(|check| check.action.is_none());
    Ok(if is_sound { Answer::Done } else { Answer::No })
}

/// A store that does not open because of its tables. Any other failure ends the command: nothing could be checked.
fn schema(failure: Failure) -> Outcome<Check> {
    let action = match failure.code() {
        "store_too_old" => "keep it for the version of kern that wrote it, and start with an empty store",
        "store_newer" => "use the version of kern that the other processes use, or a newer one",
        "store_corrupt" => "compare it with a backup; `kern audit verify` says which rows differ once it opens",
        _ => return Err(failure),
    };
    Ok(Check::wrong("schema", failure.code(), failure.message().to_owned(), action))
}

async fn clock(db: &dyn Db) -> Result<Check, Failure> {
    let clock = db.clock().await?;
    let ahead = clock.ahead_ms() / 1000;
    if !clock.has_jumped() {
        return Ok(Check::ok("clock", format!("the store's time is {ahead} s ahead of its clock")));
    }
    let found = format!("the store's time is {ahead} s ahead of its clock, and approvals expire early");
    let action = "compare the clocks of all machines that use the store, and set the store's time back with \
                  `kern clock --reset`, which closes what waits";
    Ok(Check::wrong("clock", "clock_jumped", found, action))
}

async fn mark(db: &dyn Db) -> Result<Check, Failure> {
    match db.quarantine().await? {
        Quarantine::Open => Ok(Check::ok("mark", "nothing shows that the store went back in time")),
        quarantine => {
            let action = "find out which decisions and calls are lost, then accept the loss with `kern restore --accept`. Until then, nothing \
                 new starts";
            Ok(Check::wrong("mark", "store_restored", quarantine.to_string(), action))
        }
    }
}
