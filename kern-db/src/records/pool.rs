//! Pools: who may decide where a policy names one.

use serde::{Deserialize, Serialize};

use super::principal::Principal;
use crate::cell::{Json, row};

row! {
    /// One pool. It is never deleted: without members it lets nobody decide.
    PoolRow, PoolColumns, Pools, lookups [name], unique [[name]] {
        name: String,
        members: Json<Vec<String>>,
        set_by: Option<Json<Principal>>,
        set_at_ms: i64,
    }
}

/// The people who may decide where a policy names this pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The names of those in it. Nobody: then nobody decides, but for whom a credential puts into it.
    pub members: Vec<String>,
    /// Who set it, where somebody gave a name.
    pub set_by: Option<Principal>,
    /// When, epoch milliseconds.
    pub set_at_ms: i64,
}

impl Pool {
    /// Whether a person is in it, by the exact name: membership grants something, so no other spelling counts. A caller without
    /// a name is in none.
    pub(crate) fn holds(&self, person: Option<&Principal>) -> bool {
        let Some(person) = person else { return false };
        self.members.contains(&person.subject)
    }
}

impl From<PoolRow> for Pool {
    fn from(row: PoolRow) -> Self {
        let PoolRow { name, members, set_by, set_at_ms } = row;
        Self { name, members: members.0, set_by: set_by.map(|by| by.0), set_at_ms }
    }
}
