//! What a store says of itself: its identity, and how its time stands to the clock.

use crate::cell::row;

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
    }
}

/// 128 random bits, in hexadecimal.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("an operating system gives random bytes");
    crate::digest::hex(&bytes)
}
