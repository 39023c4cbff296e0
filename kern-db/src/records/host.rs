//! The hosts that drive a store: each has a mark, and one host's mark proves nothing about what another host started.

use serde::Serialize;

use crate::cell::row;

row! {
    /// A host. Its processes share its mark.
    HostRow, HostColumns, Hosts, lookups [id], unique [[id]] {
        /// As the mark has it: 128 random bits, in hexadecimal.
        id: String,
        /// The machine's name, for people.
        name: String,
        /// The database that it has last compared its mark with: system identifier, oid and timeline.
        server: String,
        added_at_ms: i64,
        /// When a process of it last wrote.
        seen_at_ms: i64,
    }
}

/// A host that drives a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Host {
    /// The id in its mark.
    pub id: String,
    /// The machine's name.
    pub name: String,
    /// Whether it has compared its mark with the present database. After a failover or a restore nothing starts until every host
    /// has.
    pub compared: bool,
    /// Since when it is listed, epoch milliseconds.
    pub added_at_ms: i64,
    /// When a process of it last wrote, epoch milliseconds. Up to a minute old.
    pub seen_at_ms: i64,
}
