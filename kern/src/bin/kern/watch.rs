//! `kern approvals watch`: what waits, and each new one when it comes. The audit log is followed, in which nothing is
//! missed and nothing comes twice.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::time::Duration;

use kern::db::{Approval, ApprovalFilter, ApprovalStatus, Db};
use tokio::time::timeout;

use crate::approvals::brief;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, to_people};
use crate::words::now;

/// Rows read at once.
const PAGE: u32 = 1000;

pub(crate) async fn watch(output: &mut Output, db: &dyn Db, interval: Duration, json: bool) -> Outcome {
    let mut stop = pin!(tokio::signal::ctrl_c());
    // Waited for from now on: before its first look the process would end as any does.
    if let Ok(stopped) = timeout(Duration::ZERO, &mut stop).await {
        return ended(stopped);
    }
    // The place in the log first, then the list: what comes in between is seen twice by kern, never by nobody.
    let mut place = last(db).await?;
    let waiting = waiting(db).await?;
    if !json {
        to_people(&match waiting.len() {
            0 => "nothing waits. Each new call is shown when it comes, Ctrl-C ends this.".to_owned(),
            1 => "1 call waits. Each new one is shown when it comes, Ctrl-C ends this.".to_owned(),
            count => format!("{count} calls wait. Each new one is shown when it comes, Ctrl-C ends this."),
        });
    }
    let mut shown = HashMap::new();
    for approval in waiting.iter().rev() {
        // A row that comes while several pages are read moves one from a page to the next.
        if shown.insert(approval.id.clone(), approval.version).is_none() {
            say(output, approval, json)?;
        }
    }
    output.finish()?;
    while !output.is_closed() {
        let entries = db.audit().entries(place, PAGE).await?;
        for entry in &entries {
            place = entry.seq;
            let Some(id) = &entry.approval_id else { continue };
            match entry.action.as_str() {
                "requested" | "edited" => {}
                "approved" | "rejected" | "expired" | "cancelled" | "hidden" => {
                    shown.remove(id);
                    continue;
                }
                _ => continue,
            }
            let Some(approval) = db.get_approval(id).await? else { continue };
            let version = approval.version;
            if approval.status == ApprovalStatus::Pending && shown.insert(id.clone(), version) != Some(version) {
                say(output, &approval, json)?;
            }
        }
        output.finish()?;
        // A full page: there is more to read at once.
        let pause = if entries.len() < PAGE as usize { interval } else { Duration::ZERO };
        if let Ok(stopped) = timeout(pause, &mut stop).await {
            return ended(stopped);
        }
    }
    Ok(Answer::Done)
}

/// Ctrl-C is how this ends.
fn ended(stopped: io::Result<()>) -> Outcome {
    match stopped {
        Ok(()) => Ok(Answer::Done),
        Err(error) => Err(Failure::could_not("internal", format!("cannot wait for Ctrl-C: {error}"))),
    }
}

fn say(output: &mut Output, approval: &Approval, json: bool) -> Outcome<()> {
    if json {
        return output.json(approval);
    }
    let edited = if approval.version > 0 { format!("  (edited, version {})", approval.version) } else { String::new() };
    let line = format!("{}{edited}", brief(approval, now()));
    output.line(output.ink().listed(&line))
}

/// Everything that waits, newest first.
async fn waiting(db: &dyn Db) -> Outcome<Vec<Approval>> {
    let mut found: Vec<Approval> = Vec::new();
    for number in 1_u32.. {
        let filter = ApprovalFilter::new().status(ApprovalStatus::Pending).limit(PAGE).page(number);
        let page = db.list_approvals(filter).await?;
        found.extend(page.data);
        if u64::from(number) >= page.meta.total_pages {
            break;
        }
    }
    Ok(found)
}

/// The number of the last entry of the log. The log has no gaps: it is found by asking for ever later ones.
async fn last(db: &dyn Db) -> Outcome<i64> {
    let audit = db.audit();
    let (mut there, mut gone) = (0_i64, 1_i64);
    while let Some(entry) = audit.entries(gone, 1).await?.first() {
        (there, gone) = (entry.seq, entry.seq.saturating_mul(2));
    }
    while there < gone {
        let middle = there + (gone - there) / 2;
        match audit.entries(middle, 1).await?.first() {
            Some(entry) => there = entry.seq,
            None => gone = middle,
        }
    }
    Ok(there)
}
