//! What the payloads of entries say.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use crate::Authority;
use crate::records::principal::Principal;

/// What the payloads of entries say, as far as rows have to agree with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    pub(super) agent_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) agent_name: Option<Option<Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) snapshot_digest: Option<&'a str>,
    #[serde(borrow)]
    pub(super) input_digest: Option<&'a str>,
    #[serde(borrow)]
    pub(super) epoch: Option<&'a str>,
    #[serde(borrow)]
    pub(super) closed_epoch: Option<&'a str>,
    pub(super) calls: Option<u32>,
    pub(super) attention: bool,
    /// Whether another system may have acted on a call that never started here.
    pub(super) outside: bool,
    /// Of a late result, as it is kept.
    #[serde(borrow)]
    pub(super) kept: Option<&'a str>,
    pub(super) fence: Option<i64>,
    pub(super) recoveries: Option<u32>,
    pub(super) attempt: Option<u32>,
    pub(super) version: Option<u32>,
    pub(super) generation: Option<u32>,
    #[serde(borrow)]
    pub(super) status: Option<&'a str>,
    #[serde(borrow, rename = "as")]
    pub(super) settled_as: Option<&'a str>,
    #[serde(borrow)]
    pub(super) policy_digest: Option<&'a str>,
    #[serde(borrow)]
    pub(super) digest: Option<&'a str>,
    pub(super) expires_at: Option<f64>,
    pub(super) valid_until_ms: Option<f64>,
    pub(super) authority: Option<Authority>,
    #[serde(borrow)]
    pub(super) tool_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) tool_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) schema_hash: Option<&'a str>,
    pub(super) edited_by: Option<Principal>,
    #[serde(borrow)]
    pub(super) note: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) why: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) view_digest: Option<&'a str>,
    #[serde(borrow)]
    pub(super) shown: Option<&'a str>,
    #[serde(borrow)]
    pub(super) earlier: Option<&'a str>,
    pub(super) unfilled: Vec<String>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) members: Vec<String>,
    #[serde(borrow)]
    pub(super) data: Option<&'a str>,
    pub(super) member_until_ms: Option<i64>,
    #[serde(borrow)]
    pub(super) asked: Vec<Asked<'a>>,
    pub(super) before: Before<'a>,
}

/// Tells a key that is null from one that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A call that no approval row asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked<'a> {
    pub(super) index: u32,
    #[serde(borrow)]
    pub(super) digest: &'a str,
    #[serde(borrow)]
    pub(super) policy_digest: &'a str,
    #[serde(borrow)]
    pub(super) view_digest: &'a str,
    #[serde(default)]
    pub(super) unfilled: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Before<'a> {
    #[serde(borrow)]
    pub(super) approval_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) execution_id: Option<Cow<'a, str>>,
}
