//! Places where a test stops, kills or fails this process. A build without the feature `failpoints` has none of it.
//!
//! A place is named `PLACE: ACTION`, as in `committed: claim a run`, and by its `PLACE` alone for every action but the
//! renewal of a lease, which comes when it comes, so that nobody could count it.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: a release build must not contain it");

use crate::Error;

/// The transaction is open, and nothing is written.
pub const BEGIN: &str = "begin";
/// The rows are written, and the audit log is not.
pub const WRITTEN: &str = "written";
/// Everything is written, and nothing is committed.
pub const COMMIT: &str = "commit";
/// Everything is committed, and nobody was told.
pub const COMMITTED: &str = "committed";
/// The mark is about to be written.
pub const MARK: &str = "mark";
/// The mark is written and synced.
pub const MARKED: &str = "marked";
/// A transaction that only reads is about to begin.
pub const READ: &str = "read";
/// A migration is about to be applied: its action is the name of the migration.
pub const MIGRATE: &str = "migrate";
/// The body of a tool is about to be entered, after its claim was answered.
pub const ENTER: &str = "enter";
/// The body of a tool has ended, and its outcome is not handed to the store yet.
pub const LEFT: &str = "left";
/// How far the clock of the whole process is moved: `return(MILLISECONDS)`.
pub const CLOCK: &str = "clock";

/// The rule that a commit counts only once every standby has it that it waits for. It can be taken away: [`without`].
pub const REPLICATED: &str = "commits are replicated";

/// Whether a test has taken a rule away, to show what happens without it.
#[cfg(feature = "failpoints")]
pub fn without(rule: &'static str) -> bool {
    fail::eval(rule, |_| ()).is_some()
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
#[allow(missing_docs)]
pub fn without(_: &'static str) -> bool {
    false
}

/// Stops here, fails here, or goes on, as a test has asked.
///
/// # Errors
///
/// The one that the test named: `busy`, `full`, `io`, `read-only` or `lost`.
#[cfg(feature = "failpoints")]
pub fn point(place: &'static str, action: &'static str) -> Result<(), Error> {
    let named = format!("{place}: {action}");
    let counted = action != "renew a lease";
    for name in [place, &named].into_iter().skip(usize::from(!counted)) {
        if let Some(error) = fail::eval(name, |kind| failure(kind.as_deref(), action)) {
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(feature = "failpoints")]
fn failure(kind: Option<&str>, action: &'static str) -> Error {
    use std::io::ErrorKind;
    let kind = match kind {
        Some("busy") => return Error::Busy { action },
        Some("full") => return Error::Full { detail: "a test says so".to_owned() },
        Some("read-only") => ErrorKind::ReadOnlyFilesystem,
        Some("lost") => ErrorKind::ConnectionReset,
        _ => ErrorKind::Other,
    };
    Error::Unavailable { action, source: Box::new(std::io::Error::from(kind)) }
}

/// How far a test has moved the clock of this machine, in milliseconds.
#[cfg(feature = "failpoints")]
pub(crate) fn shift_ms() -> i64 {
    fail::eval(CLOCK, |shift| shift.and_then(|shift| shift.parse().ok())).flatten().unwrap_or(0)
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
#[allow(missing_docs, clippy::missing_errors_doc)]
pub fn point(_: &'static str, _: &'static str) -> Result<(), Error> {
    Ok(())
}
