//! What happens to approvals and calls, told to everybody who listens. The audit log is the source: whatever process decided
//! or ran something, its entry is there, and an entry's number is where a listener goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::response::Response;
use axum::response::sse::Event;
use kern_db::{AuditEntry, Owner, RunId};
use serde_json::json;
use tokio::sync::watch;

use super::Os;
use super::access::Who;
use super::events::{response as stream, send};
use crate::run::blocked::TO_DO;

/// How often the log is looked at where nothing says that it has grown.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Entries read at once.
const READ: u32 = 500;
/// Events kept for those who listen already.
const RECENT: usize = 4096;

/// The end of the log, read once for all listeners.
#[derive(Debug)]
pub(super) struct Log {
    recent: Mutex<Recent>,
    /// The number of the last entry that was read.
    read: watch::Sender<i64>,
}

#[derive(Debug, Default)]
struct Recent {
    is_followed: bool,
    /// Everything after this entry is kept.
    after: i64,
    events: VecDeque<Told>,
}

/// An event that listeners are told.
#[derive(Clone, Debug)]
struct Told {
    seq: i64,
    name: &'static str,
    run_id: Option<RunId>,
    data: Arc<str>,
}

impl Default for Log {
    fn default() -> Self {
        Self { recent: Mutex::default(), read: watch::Sender::new(0) }
    }
}

impl Log {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything after an entry. `None`: the log itself has to be asked.
    fn after(&self, seq: i64) -> Option<Vec<Told>> {
        let recent = self.recent();
        if !recent.is_followed || seq < recent.after {
            return None;
        }
        Some(recent.events.iter().filter(|told| told.seq > seq).cloned().collect())
    }

    fn add(&self, entries: &[AuditEntry]) {
        let mut recent = self.recent();
        recent.events.extend(entries.iter().filter_map(told));
        while recent.events.len() > RECENT {
            if let Some(oldest) = recent.events.pop_front() {
                recent.after = oldest.seq;
            }
        }
    }
}

/// What an entry is told as. `None`: it is not about an approval or a call that somebody watches.
fn told(entry: &AuditEntry) -> Option<Told> {
    let is_blocked = entry.action == "tool_changed" && entry.evidence;
    if !is_blocked && (entry.evidence || (entry.approval_id.is_none() && entry.execution_id.is_none())) {
        return None;
    }
    let name = match entry.action.as_str() {
        "tool_changed" => "blocked",
        "requested" => "requested",
        "voted" => "voted",
        "edited" => "edited",
        "approved" | "rejected" => "resolved",
        "expired" => "expired",
        "cancelled" => "cancelled",
        "hidden" => "deleted",
        "executing" => "executing",
        "succeeded" | "failed" => "executed",
        "unknown" => "unknown",
        "settled" | "run_again" => "settled",
        _ => return None,
    };
    let mut data = json!({
        "event": name,
        "seq": entry.seq,
        "action": entry.action,
        "at_ms": entry.at_ms,
        "run_id": entry.run_id,
        "approval_id": entry.approval_id,
        "execution_id": entry.execution_id,
        "actor": entry.actor,
    });
    if is_blocked {
        for key in ["tool_name", "reason"] {
            data[key] = entry.payload[key].clone();
        }
        data["to_do"] = TO_DO.into();
    }
    Some(Told { seq: entry.seq, name, run_id: entry.run_id.clone(), data: data.to_string().into() })
}

/// Follows the log as long as somebody listens.
async fn follow(os: Weak<Os>, mut seq: i64) {
    loop {
        let Some(os) = os.upgrade() else { return };
        // Asked for before the log is read: what is added while it is read is told, too.
        let change = os.db.changed();
        loop {
            match os.db.audit().entries(seq, READ).await {
                Ok(entries) => {
                    let Some(last) = entries.last() else { break };
                    seq = last.seq;
                    os.log.add(&entries);
                    os.log.read.send_replace(seq);
                }
                Err(error) => {
                    tracing::warn!(%error, "the audit log cannot be followed, it is tried again");
                    tokio::time::sleep(POLL).await;
                    break;
                }
            }
        }
        // A hint that does not come is no reason not to look.
        let _ = tokio::time::timeout(POLL, change).await;
        let mut recent = os.log.recent();
        if os.log.read.receiver_count() == 0 {
            *recent = Recent::default();
            return;
        }
    }
}

/// Whose events somebody is told who is told their own only. The entries of a run mostly follow each other.
struct Own {
    only: Owner,
    last: Option<(RunId, bool)>,
}

impl Own {
    /// # Errors
    ///
    /// It could not be asked whose run it is.
    async fn is_told(&mut self, os: &Os, told: &Told) -> kern_db::Result<bool> {
        let Some(run_id) = &told.run_id else { return Ok(false) };
        if let Some((last, is_told)) = &self.last
            && last == run_id
        {
            return Ok(*is_told);
        }
        let run = os.db.get_run(run_id).await?;
        let is_told = self.only.owns(run.requester.as_ref());
        self.last = Some((run_id.clone(), is_told));
        Ok(is_told)
    }
}

/// The stream of everything after an entry that whoever asks is shown.
pub(super) fn response(os: Arc<Os>, who: Who, from: i64) -> Response {
    let mut own = who.only_approvals().map(|only| Own { only, last: None });
    stream(who.lasts(&os), move |queue| async move {
        let (mut read, stop) = (os.log.read.subscribe(), os.stop());
        {
            let mut recent = os.log.recent();
            if !recent.is_followed {
                *recent = Recent { is_followed: true, after: from, events: VecDeque::new() };
                tokio::spawn(follow(Arc::downgrade(&os), from));
            }
        }
        let mut seq = from;
        loop {
            read.mark_unchanged();
            let (next, events) = match os.log.after(seq) {
                Some(events) => (events.last().map_or(seq, |told| told.seq), events),
                None => match os.db.audit().entries(seq, READ).await {
                    Ok(entries) => {
                        let next = entries.last().map_or(seq, |entry| entry.seq);
                        (next, entries.iter().filter_map(told).collect())
                    }
                    // The client comes back with the last event that it saw.
                    Err(_) => return,
                },
            };
            for told in &events {
                if let Some(own) = &mut own {
                    match own.is_told(&os, told).await {
                        Ok(true) => {}
                        Ok(false) => continue,
                        // The client comes back with the last event that it saw.
                        Err(_) => return,
                    }
                }
                let event = Event::default().id(told.seq.to_string()).event(told.name).data(&*told.data);
                if !send(&queue, event).await {
                    return;
                }
            }
            if next > seq {
                seq = next;
                continue;
            }
            tokio::select! {
                changed = read.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = queue.closed() => return,
                // A server that ends waits for no listener: it comes back to another one, with what it saw last.
                () = stop.closing() => return,
            }
        }
    })
}
