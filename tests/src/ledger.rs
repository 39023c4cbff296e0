//! Who was in which body: the effects that kern promises about.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use kern::tools::RunContext;

/// The variable that names a file which outlives the process.
pub const FILE: &str = "KERN_TEST_LEDGER";

static LINES: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);

/// Writes down that a body was entered: in memory by session, and in the file where there is one, down to the disk.
///
/// # Panics
///
/// When the file cannot be written.
pub fn enter(ctx: &RunContext, what: impl Into<String>) {
    let what = what.into();
    note(&what);
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.entry(ctx.session_id.to_string()).or_default().push(what);
}

/// Writes a line into the file, where there is one, down to the disk.
///
/// # Panics
///
/// When the file cannot be written.
pub fn note(what: &str) {
    if let Some(path) = std::env::var_os(FILE) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the ledger can be opened");
        file.write_all(format!("{what}\n").as_bytes()).expect("the ledger can be written");
        file.sync_all().expect("the ledger reaches the disk");
    }
}

/// The bodies entered in a session of this process, in order.
#[must_use]
pub fn of(session: &str) -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned().unwrap_or_default()
}

/// The bodies entered according to a file, in order. None where there is no file.
#[must_use]
pub fn read(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
