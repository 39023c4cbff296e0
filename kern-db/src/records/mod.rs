//! Rows as Rust types.

pub(crate) mod status;
