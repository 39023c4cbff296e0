//! Spans of time as stores count them.

use std::time::Duration;

/// A span in milliseconds. One that is too long for them is as long as there are any.
pub(crate) fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
