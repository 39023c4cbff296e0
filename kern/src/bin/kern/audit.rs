//! `kern audit verify` and `export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use kern::db::{AuditBreak, Db};
use serde_json::json;

use crate::call::safe;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, json_line};

/// Entries read at once.
const PAGE: u32 = 1000;

pub(crate) async fn verify(output: &mut Output, db: &dyn Db, json: bool) -> Outcome {
    let report = db.audit().verify().await?;
    let answer = if report.is_intact() { Answer::Done } else { Answer::No };
    if json {
        output.json(&report)?;
        return Ok(answer);
    }
    let ink = output.ink();
    let entries = if report.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", report.entries) };
    match &report.broken {
        None => {
            output.line(format!("{}: {entries}, each follows from the one before", ink.good("intact")))?;
            output.line(format!("head: {}", report.head))?;
            output.line(
                "a tail that was cut off leaves no trace here: compare the head with one that you kept elsewhere",
            )?;
        }
        Some(broken) => {
            output.line(format!("{} {}: {}", ink.bad("BROKEN"), place(broken), safe(&broken.what)))?;
            for other in &report.others {
                output.line(format!("also {}: {}", place(other), safe(&other.what)))?;
            }
            let intact = if report.is_log_intact() { "the log itself is intact" } else { "intact before it" };
            output.line(format!("{intact}: {entries}, head {}", report.head))?;
        }
    }
    Ok(answer)
}

/// Where something is wrong.
fn place(broken: &AuditBreak) -> String {
    match (&broken.row, broken.seq) {
        (None, seq) => format!("at entry {seq}"),
        (Some(row), 0) => format!("at {}", safe(row)),
        (Some(row), seq) => format!("at {} (entry {seq})", safe(row)),
    }
}

pub(crate) async fn export(output: &mut Output, db: &dyn Db, file: Option<&Path>, json: bool) -> Outcome {
    let Some(path) = file else {
        let mut after = 0;
        while let Some((lines, last, _)) = page(db, after).await? {
            output.write(&lines)?;
            if output.is_closed() {
                break;
            }
            after = last;
        }
        return Ok(Answer::Done);
    };
    let shown = safe(&path.display().to_string());
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::could_not("output", format!("`{shown}` is there already: name a file that is not"))
        }
        _ => Failure::could_not("output", format!("`{shown}` cannot be written: {error}")),
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    match to_file(db, file).await {
        Ok(count) if json => output.json(&json!({ "entries": count, "output": path.display().to_string() }))?,
        Ok(count) => output.line(format!("{count} entries written to {shown}"))?,
        Err(failure) => {
            // Half a log would pass for a whole one. It was made here, a moment ago.
            let removed = std::fs::remove_file(path);
            let failure = match failure {
                Stopped::Store(failure) => failure,
                Stopped::File(error) => cannot(error),
            };
            return Err(match removed {
                Ok(()) => failure,
                Err(_) => failure.after(&format!("`{shown}` holds only a part")),
            });
        }
    }
    Ok(Answer::Done)
}

enum Stopped {
    Store(Failure),
    File(io::Error),
}

async fn to_file(db: &dyn Db, file: File) -> Result<u64, Stopped> {
    let mut file = BufWriter::new(file);
    let (mut after, mut count) = (0, 0);
    while let Some((lines, last, entries)) = page(db, after).await.map_err(Stopped::Store)? {
        file.write_all(lines.as_bytes()).map_err(Stopped::File)?;
        (after, count) = (last, count + entries);
    }
    let file = file.into_inner().map_err(|error| Stopped::File(error.into_error()))?;
    file.sync_all().map_err(Stopped::File)?;
    Ok(count)
}

/// The next entries as lines, the number of the last one, and how many they are. `None`: there are no more.
async fn page(db: &dyn Db, after: i64) -> Outcome<Option<(String, i64, u64)>> {
    let entries = db.audit().entries(after, PAGE).await?;
    let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(None) };
    let mut lines = String::new();
    for entry in &entries {
        lines.push_str(&json_line(entry)?);
        lines.push('\n');
    }
    Ok(Some((lines, last, entries.len() as u64)))
}
