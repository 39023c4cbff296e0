//! What happens to approvals and calls, told to everybody who listens. The audit log is the source: whatever process decided
//! or ran something, its entry is there, and an entry's number is where a listener goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::response::Response;
use axum::response::sse::Event;
use kern_db::{AuditEntry, Owner, Principal, RunId};
use serde_json::json;
use tokio::sync::{OnceCell, watch};

use super::Os;
use super::access::Who;
use super::events::{response as stream, send};
use super::places::Place;
use super::shared::Shared;
use crate::error::causes;
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
    /// Parts of the log that are being read for listeners who are behind, by the entry before them.
    behind: Shared<i64, Arc<Part>>,
}

/// A part of the log.
#[derive(Debug)]
struct Part {
    /// Its last entry.
    last: i64,
    events: Vec<Told>,
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
    run: Option<Arc<RunOf>>,
    data: Arc<str>,
}

/// The run of some events. Who asked for it is read once for all listeners, when the first of them needs to know.
#[derive(Debug)]
struct RunOf {
    id: RunId,
    owner: OnceCell<Option<Principal>>,
}

impl RunOf {
    fn new(id: RunId) -> Arc<Self> {
        Arc::new(Self { id, owner: OnceCell::new() })
    }

    /// Whether an event of the run is told to a person who is told their own only.
    ///
    /// # Errors
    ///
    /// It could not be read who asked for it.
    async fn is_told(&self, os: &Os, only: &Owner) -> kern_db::Result<bool> {
        let owner = self.owner.get_or_try_init(|| os.db.run_owner(self.id.clone())).await?;
        Ok(only.owns(owner.as_ref()))
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { recent: Mutex::default(), read: watch::Sender::new(0), behind: Shared::default() }
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

    /// Reads the part of the log after an entry: after a restart of the server, hundreds of listeners come back with the same
    /// last event.
    async fn part(&self, os: &Os, seq: i64) -> kern_db::Result<Arc<Part>> {
        let read = || async {
            let entries = os.db.audit().entries(seq, READ).await?;
            let last = entries.last().map_or(seq, |entry| entry.seq);
            Ok(Arc::new(Part { last, events: all_told(&entries, None) }))
        };
        self.behind.read(seq, read).await
    }

    /// The last entry that was read, where the log is followed: what comes after it is told to all who listen.
    pub(super) fn followed_to(&self) -> Option<i64> {
        let recent = self.recent();
        recent.is_followed.then(|| *self.read.borrow())
    }

    fn add(&self, entries: &[AuditEntry]) {
        let mut recent = self.recent();
        let before = recent.events.back().and_then(|told| told.run.clone());
        recent.events.extend(all_told(entries, before));
        while recent.events.len() > RECENT {
            if let Some(oldest) = recent.events.pop_front() {
                recent.after = oldest.seq;
            }
        }
    }
}

/// What entries are told as. Those of a run mostly follow each other, and share what is known of it.
fn all_told(entries: &[AuditEntry], mut run: Option<Arc<RunOf>>) -> Vec<Told> {
    let with_run = |entry| {
        let mut told: Told = told(entry)?;
        if let (Some(run), Some(own)) = (&run, &mut told.run)
            && run.id == own.id
        {
            *own = Arc::clone(run);
        }
        run.clone_from(&told.run);
        Some(told)
    };
    entries.iter().filter_map(with_run).collect()
}

/// What an entry is told as. `None`: it is not about an approval or a call that is watched.
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
        "succeeded" | "failed" | "late_succeeded" | "late_failed" => "executed",
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
    let run = entry.run_id.clone().map(RunOf::new);
    Some(Told { seq: entry.seq, name, run, data: data.to_string().into() })
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
                    tracing::warn!(error = causes(&error), "the audit log cannot be followed, it is tried again");
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

/// The stream of everything after an entry that whoever asks is shown.
pub(super) fn response(os: Arc<Os>, who: Who, from: i64, place: Place) -> Response {
    let own = who.only_approvals();
    stream(Some(place), who.lasts(&os), move |queue| async move {
        let (mut read, stop) = (os.log.read.subscribe(), os.stop());
        {
            let mut recent = os.log.recent();
            if !recent.is_followed {
                *recent = Recent { is_followed: true, after: from, events: VecDeque::new() };
                os.log.read.send_replace(from);
                tokio::spawn(follow(Arc::downgrade(&os), from));
            }
        }
        let mut seq = from;
        loop {
            read.mark_unchanged();
            let (next, events, is_behind) = match os.log.after(seq) {
                Some(events) => (events.last().map_or(seq, |told| told.seq), events, false),
                None => match os.log.part(&os, seq).await {
                    Ok(part) => (part.last, part.events.clone(), true),
                    // The client comes back with the last event that it saw.
                    Err(_) => return,
                },
            };
            for told in &events {
                if let Some(own) = &own {
                    let is_told = match &told.run {
                        Some(run) => run.is_told(&os, own).await,
                        None => Ok(false),
                    };
                    match is_told {
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
            // The part may have been read for another listener, before this one began to wait for changes.
            if next > seq || (is_behind && *read.borrow() > seq) {
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
