//! `kern approvals approve` and `reject`: show the call, ask, decide. The store decides whether that may be.

use kern::db::{Approval, ApprovalStatus, Error, Resolution};
use kern::display::{self, WarningKind};
use serde_json::{Map, Value};

use crate::approvals::{find, lines};
use crate::arguments::{Approve, Decide};
use crate::call::{arguments_lines, name, safe, sensitive};
use crate::database::Database;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Ink, Output, asks_yes, somebody_is_there, to_people};

/// Which way.
#[derive(Clone, Copy)]
enum Way {
    Approve,
    Reject,
}

pub(crate) async fn approve(output: &mut Output, database: &Database, approve: Approve, json: bool) -> Outcome {
    let data = data(&approve)?;
    decide(output, database, approve.decide, Way::Approve, data, json).await
}

pub(crate) async fn reject(output: &mut Output, database: &Database, reject: Decide, json: bool) -> Outcome {
    decide(output, database, reject, Way::Reject, None, json).await
}

async fn decide(
    output: &mut Output,
    database: &Database,
    decide: Decide,
    way: Way,
    data: Option<Map<String, Value>>,
    json: bool,
) -> Outcome {
    if !decide.yes && !somebody_is_there() {
        let message = "there is no terminal to ask on: give --yes to decide without being asked";
        return Err(Failure::could_not("no_terminal", message));
    }
    let by = match decide.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let db = database.open().await?;
    let (approval, run) = find(&*db, &decide.id).await?;
    if approval.status != ApprovalStatus::Pending {
        return Err(decided(&approval).into());
    }
    let mut resolution = match way {
        Way::Approve => Resolution::approved(),
        Way::Reject => Resolution::rejected(),
    };
    let (db, digest) = if decide.yes {
        // What was not shown here was not seen here: only the caller can say what they looked at.
        (db, decide.digest)
    } else {
        if decide.digest.as_ref().is_some_and(|seen| *seen != approval.digest) {
            return Err(Error::StaleView { id: approval.id, version: approval.version }.into());
        }
        // Nothing is held while somebody thinks, and Ctrl-C leaves nothing behind.
        drop(db);
        ask(&approval, &lines(&approval, &run, Ink::of_questions()), data.as_ref(), &by, way)?;
        (database.open().await?, Some(approval.digest.clone()))
    };
    if let Some(digest) = digest {
        resolution = resolution.digest(digest);
    }
    if let Some(note) = decide.note {
        resolution = resolution.note(note);
    }
    if let Some(data) = data {
        resolution = resolution.data(Value::Object(data));
    }
    let stored = db.update_approval(&approval.id, ApprovalStatus::Pending, resolution.by(&by)).await?;
    let said =
        if json { output.json(&stored) } else { output.line(done(&stored, approval.version, &by, way, output.ink())) };
    // The decision is on the disk, whatever becomes of the words about it.
    said.map_err(|failure| failure.after(&format!("approval `{}` is {}", stored.id, stored.status)))?;
    Ok(Answer::Done)
}

/// Shows the call and asks. A no ends the command.
fn ask(approval: &Approval, call: &[String], data: Option<&Map<String, Value>>, by: &str, way: Way) -> Outcome<()> {
    let ink = Ink::of_questions();
    for line in call {
        to_people(line);
    }
    for (field, value) in data.into_iter().flatten() {
        to_people(&format!("  {}", ink.warning(&format!("with your {}:", safe(field)))));
        let shown = match value {
            Value::Object(fields) => arguments_lines(fields, &sensitive(approval), ink),
            value => arguments_lines(&Map::from_iter([(field.clone(), value.clone())]), &sensitive(approval), ink),
        };
        shown.iter().for_each(|line| to_people(line));
    }
    let question = match way {
        Way::Approve => format!("\nApprove this call as {}?", name(by, false)),
        Way::Reject => format!("\nReject this call for good as {}?", name(by, false)),
    };
    if asks_yes(&question)? {
        return Ok(());
    }
    Err(Failure::no("declined", format!("nothing was decided, approval `{}` is still pending", approval.id)))
}

fn decided(approval: &Approval) -> Error {
    Error::Conflict {
        id: approval.id.clone(),
        expected: ApprovalStatus::Pending,
        found: approval.status,
        by: approval.resolved_by.clone(),
        at: approval.resolved_at,
    }
}

/// What came of it, after version `seen` was looked at.
fn done(stored: &Approval, seen: u32, by: &str, way: Way, ink: Ink) -> String {
    let tool = safe(stored.tool_name.as_deref().unwrap_or("(none)"));
    let by = name(by, false);
    let id = safe(stored.id.as_str());
    match (way, stored.status) {
        (_, ApprovalStatus::Pending) if stored.version > seen => {
            let version = stored.version;
            format!("{} {tool} {id}, by {by}: version {version} is still pending, others decide it", ink.good("edited"))
        }
        (_, ApprovalStatus::Pending) => {
            let votes = stored.votes.iter().filter(|vote| vote.version == stored.version).count();
            format!("{} {tool} {id}, by {by}: {votes} of {} votes, still pending", ink.good("voted"), stored.quorum)
        }
        (Way::Approve, status) => format!("{} {tool} {id}, by {by}", ink.good(status.as_str())),
        (Way::Reject, status) => format!("{} {tool} {id}, by {by}", ink.bad(status.as_str())),
    }
}

/// What goes with an approval: `resolution_data`.
fn data(approve: &Approve) -> Outcome<Option<Map<String, Value>>> {
    let mut data = Map::new();
    for (option, field, given) in
        [("--edited-args", "edited_args", &approve.edited_args), ("--values", "values", &approve.values)]
    {
        if let Some(json) = given {
            data.insert(field.to_owned(), Value::Object(object(option, json)?));
        }
    }
    if let Some(result) = &approve.result {
        data.insert("result".to_owned(), Value::from(result.as_str()));
    }
    Ok((!data.is_empty()).then_some(data))
}

/// A JSON object, read by the rules that a model's arguments are read by: no field twice, no number that would change.
fn object(option: &str, json: &str) -> Outcome<Map<String, Value>> {
    let refused = |why: String| Failure::could_not("invalid", format!("{option} cannot be used: {why}"));
    kern::__private::read_arguments(json).map_err(refused)
}

/// Who runs this command, as the system knows them.
pub(crate) fn system_user() -> Outcome<String> {
    // By the process's own user where the system can say: a variable survives `su`.
    let asked = std::process::Command::new("id").arg("-un").output();
    let named =
        asked.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let variable = || {
        ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()))
    };
    named
        .or_else(variable)
        .ok_or_else(|| Failure::could_not("invalid", "the system does not say who you are: give --by NAME"))
}

/// A name that reads like another one would make the record say something else than is seen.
pub(crate) fn check_name(name: &str) -> Outcome<()> {
    let refused =
        |why: &str| Err(Failure::could_not("invalid", format!("`{name}` cannot be recorded as a name: {why}")));
    if name.trim().is_empty() || name.trim() != name {
        return refused("it is empty, or begins or ends with a space, give --by NAME");
    }
    let hidden = display::text(name).warnings.into_iter().find(|warning| warning.kind != WarningKind::Lookalike);
    match hidden {
        Some(warning) => refused(&format!("it has {warning}, give --by NAME")),
        None => Ok(()),
    }
}
