//! The transition table once more, from the log's side: what the entries say happened, without I/O.
//!
//! Written from the table and not from the transitions: an entry is taken only where the table has a line that leads there.
//! What comes out is what every row has to say.

mod approval;
mod execution;
mod run;
mod said;
mod state;

use std::borrow::Cow;
use std::collections::HashMap;

use super::line::Line;
use crate::records::principal::{Actor, Principal};
use said::Said;
pub(super) use state::{Approval, Call, Execution, Run, Sha, Vote};
use state::{Asked, Key, Place, Pool, SetPool, Who};

/// Why an entry cannot stand where it stands.
pub(super) type Wrong = Cow<'static, str>;

/// Everything that the log says about every object.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) runs: HashMap<Box<str>, Run>,
    /// Which call an approval is about.
    pub(super) approvals: HashMap<Box<str>, Place>,
    pub(super) executions: u64,
    pub(super) pools: HashMap<Box<str>, Pool>,
    pub(super) keys: HashMap<Box<str>, Key>,
    /// The epochs that accepted restores have closed, and the one that the last of them has opened.
    pub(super) closed: Vec<Box<str>>,
    pub(super) epoch: Option<Box<str>>,
    /// Whether the store is quarantined.
    pub(super) quarantined: bool,
    actors: HashMap<Box<str>, u32>,
    pub(super) who: Vec<Who>,
}

/// The words of the table that change a state.
const ACTIONS: &[&str] = &[
    "run_started",
    "input_stored",
    "turn_committed",
    "run_paused",
    "run_claimed",
    "run_recovered",
    "run_completed",
    "run_failed",
    "run_cancelled",
    "requested",
    "recorded",
    "voted",
    "edited",
    "approved",
    "rejected",
    "expired",
    "cancelled",
    "hidden",
    "confirmed",
    "confirmed_implied",
    "user_rejected",
    "ready",
    "executing",
    "succeeded",
    "failed",
    "unknown",
    "retry",
    "abandoned",
    "late_succeeded",
    "late_failed",
    "settled",
    "run_again",
    "asked_again",
    "pool_set",
    "key_made",
    "key_revoked",
    "erased",
    "run_hidden",
    "shard_opened",
    "clock_reset",
    "quarantined",
    "restore_accepted",
    "run_restored",
    "restored",
    "restore_acknowledged",
    "failover_confirmed",
    "host_retired",
];

fn check(holds: bool, otherwise: &'static str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn need<T>(value: Option<T>, name: &'static str) -> Result<T, Wrong> {
    value.ok_or_else(|| format!("it names no {name}").into())
}

impl Replay {
    /// Takes the next entry.
    pub(super) fn step(&mut self, line: &Line<'_>) -> Result<(), Wrong> {
        let by = self.who(line.actor)?;
        if line.evidence && line.action != "late_result" {
            return check(!ACTIONS.contains(&line.action), "it is marked as evidence, and its action changes a state");
        }
        let said: Said<'_> =
            serde_json::from_str(line.payload).map_err(|error| format!("it is unreadable: audit.payload: {error}"))?;
        let at_ms = line.now_ms;
        check(line.root_run_id == line.run_id, "the root of its run is another run")?;
        if line.action == "shard_opened" {
            return check(line.seq == 1, "the chain was opened before");
        }
        if line.action == "clock_reset" {
            check(line.run_id.is_none(), "the time of the store is of no run")?;
            return check(
                said.note.as_ref().is_some_and(|note| !note.trim().is_empty()),
                "the time was set back without a reason",
            );
        }
        if line.action == "pool_set" {
            check(line.run_id.is_none(), "a pool has no run")?;
            let name = need(said.name.as_deref(), "pool")?;
            let members = said.members.clone();
            let pool = self.pools.entry(name.into()).or_default();
            pool.set.push(SetPool { seq: line.seq, members, by, at_ms });
            return Ok(());
        }
        if line.action == "failover_confirmed" {
            return check(line.run_id.is_none(), "a failover is of no run");
        }
        if line.action == "host_retired" {
            check(line.run_id.is_none(), "a host is of no run")?;
            return check(
                said.note.as_ref().is_some_and(|note| !note.trim().is_empty()),
                "a host was retired without a reason",
            );
        }
        if matches!(line.action, "quarantined" | "restore_accepted") {
            return self.store(line, &said);
        }
        if matches!(line.action, "key_made" | "key_revoked") {
            return self.key(line, &said, by, at_ms);
        }
        let run_id = need(line.run_id, "run")?;
        if line.action == "run_started" {
            check(!self.runs.contains_key(run_id), "the run has started before")?;
            check(!self.quarantined, "the store is quarantined")?;
            let run = Run::started(line, &said, by, at_ms)?;
            let epoch = self.epoch.get_or_insert_with(|| run.epoch.clone());
            check(*epoch == run.epoch, "it is in another epoch than the store")?;
            self.runs.insert(run_id.into(), run);
            return Ok(());
        }
        let run = self.runs.get_mut(run_id).ok_or("its run has not started")?;
        check_member(&said, self.who[by as usize].person.as_ref(), at_ms)?;
        let step = Step { line, said: &said, by, at_ms };
        if line.evidence {
            return run.reported_late(&step);
        }
        match line.action {
            "turn_committed" | "run_paused" | "run_claimed" | "run_recovered" | "run_completed" | "run_failed"
            | "run_cancelled" | "run_restored" => run.step(&step),
            "input_stored" => run.input_stored(&step),
            "restore_acknowledged" => {
                check(!self.quarantined, "the store is quarantined")?;
                run.acknowledged(&step, self.epoch.as_deref())
            }
            "asked_again" => run.asked_again(&step),
            "confirmed" | "confirmed_implied" | "user_rejected" => run.answered(&step),
            "requested" | "recorded" => {
                let id = need(line.approval_id, "approval")?;
                let (turn, idx) = step.place()?;
                check(!self.approvals.contains_key(id), "the approval was asked for before")?;
                self.approvals.insert(id.into(), Place { run: run_id.into(), turn, idx });
                run.asked(&step, id)
            }
            "voted" | "edited" | "approved" | "rejected" | "expired" | "cancelled" | "hidden" => run.decided(&step),
            "restored" if !self.quarantined => Err("the store was not set back".into()),
            "executing" | "ready" if self.quarantined => Err("the store is quarantined".into()),
            "ready" | "executing" | "succeeded" | "failed" | "unknown" | "retry" | "abandoned" | "late_succeeded"
            | "late_failed" | "settled" | "restored" | "run_again" => {
                self.executions += u64::from(run.executed(&step)?);
                Ok(())
            }
            "erased" => run.erased(&step),
            "run_hidden" => run.hidden(&step),
            other => Err(format!("no line of the table is called `{other}`").into()),
        }
    }

    /// Z1 and Z2.
    fn store(&mut self, line: &Line<'_>, said: &Said<'_>) -> Result<(), Wrong> {
        check(line.run_id.is_none(), "a store has no run")?;
        if line.action == "quarantined" {
            check(!self.quarantined, "the store is quarantined already")?;
            self.quarantined = true;
            return Ok(());
        }
        check(self.quarantined, "a restore is accepted only of a quarantined store")?;
        let (closed, epoch) = (need(said.closed_epoch, "epoch that it closes")?, need(said.epoch, "epoch")?);
        check(self.epoch.as_deref().is_none_or(|now| now == closed), "it closes another epoch than the store's")?;
        check(epoch != closed && self.closed.iter().all(|old| **old != *epoch), "its epoch was there before")?;
        self.closed.push(closed.into());
        (self.epoch, self.quarantined) = (Some(epoch.into()), false);
        Ok(())
    }

    /// A key is made once, and revoked once.
    fn key(&mut self, line: &Line<'_>, said: &Said<'_>, by: u32, at_ms: i64) -> Result<(), Wrong> {
        check(line.run_id.is_none(), "a key has no run")?;
        let id = need(line.call_digest, "key")?;
        if line.action == "key_made" {
            check(!self.keys.contains_key(id), "the key was made before")?;
            let digest = need(sha(said.digest), "digest of a key")?;
            self.keys.insert(id.into(), Key { seq: line.seq, digest, revoked: None });
            return Ok(());
        }
        let key = self.keys.get_mut(id).ok_or("the key was never made")?;
        check(key.revoked.is_none(), "the key was revoked before")?;
        (key.seq, key.revoked) = (line.seq, Some((by, at_ms)));
        Ok(())
    }

    fn who(&mut self, actor: &str) -> Result<u32, Wrong> {
        if let Some(known) = self.actors.get(actor) {
            return Ok(*known);
        }
        let read: Actor =
            serde_json::from_str(actor).map_err(|error| format!("it is unreadable: audit.actor: {error}"))?;
        let shown = read.to_string();
        let who = match &read {
            Actor::Person { principal } => {
                let principal = Principal::from(principal);
                Who {
                    voter_key: crate::digest::canonical(&(&principal.issuer, &principal.subject)),
                    principal: Some(crate::digest::canonical(&principal)),
                    person: Some(principal),
                    shown,
                }
            }
            _ => Who { principal: None, person: None, voter_key: "-".to_owned(), shown },
        };
        let number = u32::try_from(self.who.len()).map_err(|_| "too many people")?;
        self.who.push(who);
        self.actors.insert(actor.into(), number);
        Ok(number)
    }
}

/// Who is in a pool by a credential has proved who they are, and is in it still.
fn check_member(said: &Said<'_>, person: Option<&Principal>, at_ms: i64) -> Result<(), Wrong> {
    let Some(until_ms) = said.member_until_ms else { return Ok(()) };
    check(person.is_some_and(|person| person.verified), "nobody has proved who is said to be in a pool")?;
    check(at_ms < until_ms, "who did it was in the pool for a time that was over")
}

/// One entry, with what its payload says.
struct Step<'a> {
    line: &'a Line<'a>,
    said: &'a Said<'a>,
    by: u32,
    at_ms: i64,
}

impl Step<'_> {
    fn place(&self) -> Result<(u32, u32), Wrong> {
        Ok((need(self.line.turn, "turn")?, need(self.line.idx, "place of a call")?))
    }

    fn digest(&self) -> Result<Sha, Wrong> {
        need(self.line.call_digest.and_then(Sha::parse), "digest of a call")
    }

    /// What the entry says of the version that it asks for.
    fn asked(&self) -> Result<Asked, Wrong> {
        let policy = need(sha(self.said.policy_digest), "digest of a policy")?;
        let view = need(sha(self.said.view_digest), "digest of what was shown")?;
        Ok(Asked { shard: self.line.shard, seq: self.line.seq, policy, view })
    }

    fn note(&self) -> Option<Box<str>> {
        self.said.note.as_deref().map(Box::from)
    }
}

fn sha(text: Option<&str>) -> Option<Sha> {
    text.and_then(Sha::parse)
}
