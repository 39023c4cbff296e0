//! What every object is like by the log.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use crate::records::principal::Principal;
use crate::{ApprovalStatus, Authority, ExecutionStatus, RunStatus};

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Sha([u8; 32]);

impl Sha {
    #[inline]
    pub(in crate::audit) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    #[inline]
    pub(in crate::audit) fn is(&self, text: &str) -> bool {
        Self::parse(text).as_ref() == Some(self)
    }
}

/// A pool as it was set each time, in order, and at least once.
#[derive(Debug, Default)]
pub(in crate::audit) struct Pool {
    pub(in crate::audit) set: Vec<SetPool>,
}

/// A pool as it was set once.
#[derive(Debug)]
pub(in crate::audit) struct SetPool {
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) members: Vec<String>,
    pub(in crate::audit) by: u32,
    pub(in crate::audit) at_ms: i64,
}

impl Pool {
    /// Whether it held somebody when this entry was written.
    pub(in crate::audit) fn held(&self, person: &Principal, seq: i64) -> bool {
        let as_of = self.set.partition_point(|set| set.seq < seq).checked_sub(1).and_then(|place| self.set.get(place));
        as_of.is_some_and(|set| set.members.contains(&person.subject))
    }
}

/// An API key.
#[derive(Debug)]
pub(in crate::audit) struct Key {
    pub(in crate::audit) seq: i64,
    /// Over what was said when it was made.
    pub(in crate::audit) digest: Sha,
    /// By whom and when.
    pub(in crate::audit) revoked: Option<(u32, i64)>,
}

/// Where a call is.
#[derive(Clone, Debug)]
pub(in crate::audit) struct Place {
    pub(in crate::audit) run: Box<str>,
    pub(in crate::audit) turn: u32,
    pub(in crate::audit) idx: u32,
}

/// Somebody that entries name.
#[derive(Debug)]
pub(in crate::audit) struct Who {
    /// As rows name them. `None`: nobody that a row names.
    pub(in crate::audit) principal: Option<String>,
    pub(in crate::audit) person: Option<Principal>,
    pub(in crate::audit) voter_key: String,
    pub(in crate::audit) shown: String,
}

#[derive(Debug)]
pub(in crate::audit) struct Run {
    /// Whether its row was met.
    pub(in crate::audit) met: AtomicBool,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) requester: u32,
    pub(in crate::audit) agent_id: Box<str>,
    /// `None`: the entry is older than this word.
    pub(in crate::audit) agent_name: Option<Option<Box<str>>>,
    pub(in crate::audit) session_id: Box<str>,
    pub(in crate::audit) status: RunStatus,
    pub(in crate::audit) turn: u32,
    pub(in crate::audit) recoveries: u32,
    pub(in crate::audit) attention: bool,
    pub(in crate::audit) fence: i64,
    /// `None`: nothing has been said of it yet.
    pub(in crate::audit) snapshot: Option<Sha>,
    /// Of its input, once the hooks have passed.
    pub(in crate::audit) input: Option<Sha>,
    /// When the secrets of its calls were taken out.
    pub(in crate::audit) erased_ms: Option<i64>,
    /// When its session was deleted.
    pub(in crate::audit) hidden_ms: Option<i64>,
    pub(in crate::audit) started_ms: i64,
    pub(in crate::audit) changed_ms: i64,
    /// The epoch in which a person last let it go on.
    pub(in crate::audit) epoch: Box<str>,
    pub(in crate::audit) turns: Vec<Turn>,
    /// In order.
    pub(in crate::audit) calls: Vec<Call>,
}

/// A committed turn.
#[derive(Debug)]
pub(in crate::audit) struct Turn {
    pub(in crate::audit) turn: u32,
    /// How many calls it has.
    pub(in crate::audit) calls: u32,
    pub(in crate::audit) at_ms: i64,
}

#[derive(Debug)]
pub(in crate::audit) struct Call {
    pub(in crate::audit) turn: u32,
    pub(in crate::audit) idx: u32,
    pub(in crate::audit) generation: u32,
    pub(in crate::audit) version: u32,
    /// Of the current version.
    pub(in crate::audit) digest: Sha,
    /// The digests of version 0 and those after it. `None`: the log does not say what was asked first.
    pub(in crate::audit) earlier: Option<Vec<Sha>>,
    /// The entry in which the current version was asked for, and what it says: of what is asked of whom, and of what is shown.
    pub(in crate::audit) asked: Asked,
    /// The requirements that it had before it was asked anew.
    pub(in crate::audit) earlier_requirements: Option<Sha>,
    /// The arguments that are left to people. `None`: the log does not say it.
    pub(in crate::audit) unfilled: Option<Vec<String>>,
    pub(in crate::audit) answer: Option<Answered>,
    pub(in crate::audit) approvals: Vec<Approval>,
    pub(in crate::audit) executions: Vec<Execution>,
    pub(in crate::audit) seq: i64,
}

/// What the log says with the entry in which a version was asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::audit) struct Asked {
    pub(in crate::audit) shard: u32,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) policy: Sha,
    pub(in crate::audit) view: Sha,
}

#[derive(Debug)]
pub(in crate::audit) struct Answered {
    pub(in crate::audit) confirmed: bool,
    pub(in crate::audit) version: u32,
    pub(in crate::audit) digest: Sha,
    pub(in crate::audit) by: u32,
    pub(in crate::audit) note: Option<Box<str>>,
    pub(in crate::audit) at_ms: i64,
}

#[derive(Debug)]
pub(in crate::audit) struct Approval {
    pub(in crate::audit) id: Box<str>,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) generation: u32,
    /// Whether it decides. Others are records.
    pub(in crate::audit) required: bool,
    pub(in crate::audit) status: ApprovalStatus,
    pub(in crate::audit) version: u32,
    pub(in crate::audit) digest: Sha,
    pub(in crate::audit) tool: Option<Tool>,
    /// Of what is asked of whom.
    pub(in crate::audit) policy: Sha,
    /// Of everything that it shows.
    pub(in crate::audit) view: Sha,
    /// Of those columns of it that its call has no part in.
    pub(in crate::audit) shown: Sha,
    pub(in crate::audit) expires_at: Option<f64>,
    pub(in crate::audit) edited_by: Option<String>,
    pub(in crate::audit) resolver: Option<u32>,
    pub(in crate::audit) note: Option<Box<str>>,
    /// `None`: the entry does not say it.
    pub(in crate::audit) data: Option<Sha>,
    pub(in crate::audit) asked_ms: i64,
    pub(in crate::audit) resolved_ms: Option<i64>,
    pub(in crate::audit) hidden_ms: Option<i64>,
    /// The entry that says it was approved by votes.
    pub(in crate::audit) approved_seq: Option<i64>,
    pub(in crate::audit) votes: Vec<Vote>,
    /// How many of their rows were met.
    pub(in crate::audit) voted: AtomicUsize,
}

/// The tool that a row was asked for, where the entry says so.
#[derive(Debug)]
pub(in crate::audit) struct Tool {
    pub(in crate::audit) version: Box<str>,
    pub(in crate::audit) schema: Sha,
}

#[derive(Debug)]
pub(in crate::audit) struct Vote {
    pub(in crate::audit) version: u32,
    pub(in crate::audit) digest: Sha,
    pub(in crate::audit) by: u32,
    pub(in crate::audit) at_ms: i64,
    pub(in crate::audit) data: Option<Sha>,
    /// Until when a credential says that the voter is in the pool, where that alone let them vote.
    pub(in crate::audit) member_until_ms: Option<i64>,
}

#[derive(Debug)]
pub(in crate::audit) struct Execution {
    pub(in crate::audit) id: Box<str>,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) generation: u32,
    pub(in crate::audit) authority: Authority,
    pub(in crate::audit) status: ExecutionStatus,
    pub(in crate::audit) attempt: u32,
    pub(in crate::audit) fence: i64,
    pub(in crate::audit) digest: Sha,
    pub(in crate::audit) valid_until_ms: Option<f64>,
    /// Of what it gave: its result or its error.
    pub(in crate::audit) result: Option<Sha>,
    pub(in crate::audit) why: Option<Box<str>>,
    pub(in crate::audit) settled: Option<(u32, Option<Box<str>>)>,
    pub(in crate::audit) made_ms: i64,
    pub(in crate::audit) started_ms: Option<i64>,
    pub(in crate::audit) ended_ms: Option<i64>,
    /// Whether the last start may still say how it ended.
    pub(in crate::audit) owned: bool,
    /// Whether it became unknown without a start: another system executes it.
    pub(in crate::audit) outside: bool,
    /// How the report ended that came too late, and the digest of what is kept of it.
    pub(in crate::audit) late: Option<(ExecutionStatus, Sha)>,
}
