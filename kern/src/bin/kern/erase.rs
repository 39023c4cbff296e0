//! `kern audit erase`: ask, and take the sensitive arguments out of a run that has ended.

use kern::db::{Error, Principal, RunId};

use crate::approvals::checked;
use crate::arguments::Erase;
use crate::call::{name, safe};
use crate::database::Database;
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, asks_yes, somebody_is_there, to_people};

pub(crate) async fn erase(output: &mut Output, database: &Database, erase: Erase, json: bool) -> Outcome {
    if erase.note.trim().is_empty() {
        return Err(Failure::could_not("invalid", "--note is empty: say why"));
    }
    if !erase.yes && !somebody_is_there() {
        let message = "there is no terminal to ask on: give --yes to erase without being asked";
        return Err(Failure::could_not("no_terminal", message));
    }
    let by = match erase.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let run_id = RunId::from(checked(&erase.run)?);
    let run = database.open().await?.get_run(&run_id).await?;
    let shown = safe(run_id.as_str());
    if !erase.yes && run.erased_at_ms.is_none() {
        to_people(&format!(
            "run {shown} is {}, and asked for {} calls that have a record",
            run.status,
            run.calls.len()
        ));
        let question = format!("Erase their sensitive arguments for good as {}?", name(&by, false));
        if !asks_yes(&question)? {
            return Err(Failure::no("declined", format!("nothing was erased from run `{shown}`")));
        }
    }
    let db = database.open().await?;
    let erased = db.audit().erase(&run_id, Some(Principal::unverified(&by)), erase.note).await;
    let erased = erased.map_err(|error| match error {
        Error::RunConflict { .. } => Failure::no("not_ended", error.to_string()),
        error => error.into(),
    })?;
    let said = if json {
        output.json(&erased)
    } else if erased.before {
        output.line(format!("run {shown} was erased before, nothing was changed"))
    } else if erased.erased_at_ms.is_none() && erased.kept == 0 {
        output.line(format!("run {shown} has no sensitive arguments, nothing was changed"))
    } else {
        lines(output, &shown, &erased.names, erased.calls, erased.kept)
    };
    said.map_err(|failure| failure.after(&format!("the erasure of run `{shown}` is done")))?;
    Ok(Answer::Done)
}

fn lines(output: &mut Output, run: &str, names: &[String], calls: u64, kept: u64) -> Outcome<()> {
    if calls > 0 {
        let names = safe(&names.join(", "));
        output.line(format!("{} {names} of {calls} calls of run {run}", output.ink().good("erased")))?;
        output
            .line("free pages of the database file hold old text until it is vacuumed, and copies of it keep theirs")?;
    }
    if kept > 0 {
        let why = "they were asked for by a version of kern that kept no salts";
        output.line(format!("{kept} calls of run {run} keep their sensitive arguments: {why}"))?;
    }
    Ok(())
}
