//! Rows as Rust types, and what of them the outside sees.

pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod call;
pub(crate) mod checkpoint;
pub(crate) mod delivery;
pub(crate) mod execution;
pub(crate) mod host;
pub(crate) mod json;
pub(crate) mod key;
pub(crate) mod outbox;
pub(crate) mod person_key;
pub(crate) mod pool;
pub(crate) mod principal;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod store;
