//! The audit log of one start, as a table.

use std::collections::{HashMap, HashSet};

use kern::db::{AuditEntry, RunId, SqliteDb};
use kern::prelude::*;

use crate::page::{Ink, Page, visible};

/// How many entries the log has.
pub(crate) async fn length(db: &SqliteDb) -> kern::Result<i64> {
    let report = db.audit().verify().await?;
    Ok(i64::try_from(report.entries).unwrap_or(i64::MAX))
}

/// Shows the entries after number `seen`, and whether the whole log is as kern wrote it.
pub(crate) async fn show(page: &mut Page, db: &SqliteDb, seen: i64) -> kern::Result<bool> {
    page.heading("Audit log");
    let entries = db.audit().entries(seen, 1000).await?;
    let tools = tools(db, &entries).await?;
    let rows: Vec<[String; 6]> = entries.iter().map(|entry| row(entry, &tools)).collect();
    let titles = ["#", "UTC", "action", "call", "by", "hash"].map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter().chain([&titles]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    if !rows.is_empty() {
        page.line(page.ink(Ink::Dim, &aligned(&titles, widths)));
    }
    for row in &rows {
        page.line(aligned(row, widths));
    }
    let report = db.audit().verify().await?;
    match &report.broken {
        None => {
            let intact = page.ink(Ink::Good, "intact");
            let earlier = if seen > 0 { format!(", {seen} of them from earlier starts") } else { String::new() };
            page.line(format!("  {} entries{earlier}, {intact}", report.entries));
        }
        Some(broken) => {
            let broken_at = page.ink(Ink::Bad, &format!("BROKEN at entry {}", broken.seq));
            page.line(format!("  {broken_at}: {}", visible(&broken.what)));
        }
    }
    Ok(report.is_intact())
}

/// The names of the tools whose calls the entries are about.
async fn tools(db: &SqliteDb, entries: &[AuditEntry]) -> kern::Result<HashMap<(RunId, u32, u32), String>> {
    let mut tools = HashMap::new();
    for run_id in entries.iter().filter_map(|entry| entry.run_id.as_ref()).collect::<HashSet<_>>() {
        for call in db.get_run(run_id).await?.calls {
            tools.insert((run_id.clone(), call.turn, call.index), call.tool_name);
        }
    }
    Ok(tools)
}

fn row(entry: &AuditEntry, tools: &HashMap<(RunId, u32, u32), String>) -> [String; 6] {
    let call = match (&entry.run_id, entry.turn, entry.index) {
        (Some(run_id), Some(turn), Some(index)) => {
            let place = (run_id.clone(), turn, index);
            tools.get(&place).map_or_else(|| format!("turn {turn}, call {index}"), |name| visible(name))
        }
        _ => String::new(),
    };
    let (seconds, milliseconds) = (entry.at_ms.div_euclid(1000).rem_euclid(86_400), entry.at_ms.rem_euclid(1000));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    [
        entry.seq.to_string(),
        format!("{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"),
        visible(&entry.action),
        call,
        visible(&entry.actor.to_string()),
        format!("{:.12}…", entry.hash),
    ]
}

fn aligned(cells: &[String; 6], widths: [usize; 6]) -> String {
    let [number, time, action, call, by, hash] = cells;
    let [w0, w1, w2, w3, w4, _] = widths;
    format!("  {number:>w0$}  {time:<w1$}  {action:<w2$}  {call:<w3$}  {by:<w4$}  {hash}")
}
