//! What the macros' expansion names. Not public API: it changes without notice.

pub use serde_json;
