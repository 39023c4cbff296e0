//! What a store says of itself: its identity, how its time stands to the clock, and whether it was set back.

use serde::Serialize;
use serde_json::Value;

use crate::StoreState;
use crate::cell::row;
use crate::records::principal::Principal;

row! {
    /// The only row of its table.
    StoreRow, StoreColumns, Store, lookups [store_id], unique [[store_id]] {
        /// 128 random bits, for the store's life.
        store_id: String,
        /// 128 random bits, until a restore is accepted.
        epoch: String,
        /// Chains of the audit log.
        shards: u32,
        /// The store's time when the clock said `wall_ms`.
        at_ms: i64,
        wall_ms: i64,
        /// How often an operator has set the store's time back.
        resets: i64,
        /// The longest lease that was ever granted.
        lease_ms: i64,
        state: StoreState,
        /// JSON: what the log lacks, while it is quarantined.
        proof: Option<String>,
        quarantined_at_ms: Option<i64>,
        /// The database that the log was confirmed to be whole in: system identifier, oid and timeline. PostgreSQL only.
        server: Option<String>,
    }
}

/// 128 random bits, in hexadecimal.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("an operating system gives random bytes");
    crate::digest::hex(&bytes)
}

/// What is known of a store as a whole.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Its id, for life.
    pub store_id: String,
    /// New when the store was made, and after each accepted restore.
    pub epoch: String,
    /// Its state.
    pub state: StoreState,
    /// What its log lacks, while it is quarantined.
    pub proof: Option<Value>,
    /// Since when it is quarantined, epoch milliseconds.
    pub quarantined_at_ms: Option<i64>,
    /// Runs that wait for a person since an accepted restore.
    pub restored_runs: u64,
}

/// An operator's word that a loss is accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreAcceptance {
    pub(crate) by: Principal,
    pub(crate) note: String,
    pub(crate) force: bool,
    pub(crate) revoke_keys: bool,
}

impl RestoreAcceptance {
    /// Accepts the loss that a proof shows, and keeps the API keys.
    #[must_use]
    pub fn new(by: Principal, note: impl Into<String>) -> Self {
        Self { by, note: note.into(), force: false, revoke_keys: false }
    }

    /// Accepts a loss that nothing proves: a store was set back together with its mark, or has none.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Revokes every API key: the store may hold keys that were revoked in the history that was lost.
    #[must_use]
    pub fn revoke_keys(mut self) -> Self {
        self.revoke_keys = true;
        self
    }
}

/// What became of an acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum RestoreAccepted {
    /// The store is open again, in a new epoch.
    Accepted {
        /// Runs that are paused until a person acknowledges the restore.
        runs: u64,
        /// Calls whose end is unknown now.
        calls: u64,
        /// API keys that were revoked.
        keys: u64,
    },
    /// The store is quarantined, and a lease that was granted before that still runs. Nothing was accepted yet.
    Waits {
        /// For so long, milliseconds.
        for_ms: i64,
    },
}
