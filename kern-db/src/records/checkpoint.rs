//! Checkpoints: what the audit log was like at one time, signed, so that a copy kept elsewhere says what is missing here.

use serde::{Deserialize, Serialize};

use crate::cell::{Json, row};

row! {
    /// One checkpoint. Nothing of it changes but which sinks have it.
    CheckpointRow, CheckpointColumns, Checkpoints, lookups [size], unique [[size]] {
        size: i64,
        origin: String,
        head: String,
        time_ms: i64,
        previous: String,
        signature: String,
        delivered: Json<Vec<String>>,
    }
}

/// A signed statement of how long the audit log was and what its last entry was. Kept elsewhere, it shows that a tail was
/// cut off, or that the log is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Which log: the hash of its first entry.
    pub origin: String,
    /// How many entries it had.
    pub size: i64,
    /// The hash of the last one.
    pub head: String,
    /// Epoch milliseconds, by the store's clock.
    pub time_ms: i64,
    /// The hash of the checkpoint before, zeros for the first one.
    pub previous: String,
    /// Ed25519 over [`text`](Self::text), in hexadecimal.
    pub signature: String,
}

impl Checkpoint {
    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, head, time_ms, previous, .. } = self;
        format!("kern/checkpoint/v1\n{origin}\n{size}\n{head}\n{time_ms}\n{previous}\n")
    }

    /// What the next one names as `previous`.
    #[must_use]
    pub fn hash(&self) -> String {
        crate::digest::sha256(&format!("{}{}\n", self.text(), self.signature))
    }
}

impl From<CheckpointRow> for Checkpoint {
    fn from(row: CheckpointRow) -> Self {
        let CheckpointRow { size, origin, head, time_ms, previous, signature, .. } = row;
        Self { origin, size, head, time_ms, previous, signature }
    }
}
