//! API keys: credentials of which the store knows everything but the secret.

use serde::{Deserialize, Serialize};

use super::principal::Principal;
use crate::cell::{Json, Stored as _, row};
use crate::digest::{KeyFields, key_digest};

row! {
    /// One API key. It is never deleted: a revoked one stays on record.
    KeyRow, KeyColumns, Keys, lookups [id], unique [[id]] {
        id: String,
        /// SHA-256 of the secret, in hexadecimal.
        secret_hash: String,
        subject: String,
        scopes: Json<Vec<String>>,
        created_by: Option<Json<Principal>>,
        created_at_ms: i64,
        expires_at_ms: Option<i64>,
        revoked_by: Option<Json<Principal>>,
        revoked_at_ms: Option<i64>,
    }
}

impl KeyRow {
    /// The digest over everything that was said when the key was made.
    pub(crate) fn digest(&self) -> String {
        let (scopes, created_by) = (self.scopes.to_cell(), self.created_by.to_cell());
        key_digest(KeyFields {
            id: &self.id,
            secret_hash: &self.secret_hash,
            subject: &self.subject,
            scopes: scopes.text().unwrap_or_default(),
            created_by: created_by.text(),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
        })
    }
}

/// An API key, without its secret: that is known to nobody but its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccessKey {
    /// Names the key; no secret.
    pub id: String,
    /// Who acts when it is used.
    pub subject: String,
    /// What it may be used for, as words.
    pub scopes: Vec<String>,
    /// Who made it, where somebody gave a name.
    pub created_by: Option<Principal>,
    /// When, epoch milliseconds.
    pub created_at_ms: i64,
    /// From when on it is refused, epoch milliseconds. `None`: it does not expire.
    pub expires_at_ms: Option<i64>,
    /// Who revoked it, where somebody gave a name.
    pub revoked_by: Option<Principal>,
    /// When it was revoked, epoch milliseconds. From then on it is refused for good.
    pub revoked_at_ms: Option<i64>,
}

impl From<KeyRow> for AccessKey {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            subject: row.subject,
            scopes: row.scopes.0,
            created_by: row.created_by.map(|by| by.0),
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            revoked_by: row.revoked_by.map(|by| by.0),
            revoked_at_ms: row.revoked_at_ms,
        }
    }
}
