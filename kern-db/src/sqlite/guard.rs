//! What a statement of somebody else's may do on the connection that writes.
//!
//! SQLite asks while it prepares a statement, for everything in it: triggers, views and subqueries included. What is not
//! allowed here is refused, whatever SQL comes to have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::{counts, failed};
use crate::Result;
use crate::cell::Table;
use crate::names::Names;

/// kern's tables whose names are not configurable.
const OWN: [&str; 2] = ["kern_migrations", "kern_names"];

/// Stands before a connection, and looks only while somebody else's statement is on it.
#[derive(Debug)]
pub(super) struct Guard {
    watching: Arc<AtomicBool>,
}

impl Guard {
    /// Sets a guard before a connection. It stays there: setting one anew would have SQLite prepare every statement again.
    pub(super) fn set(connection: &mut Connection, names: &Names) -> Result<Self> {
        let watching = Arc::new(AtomicBool::new(false));
        let watches = Arc::clone(&watching);
        let kept = Table::ALL.iter().map(|table| names.of(*table)).chain(OWN).map(str::to_owned);
        let kept: Vec<String> = kept.chain([counts::table(names)]).collect();
        let authorize = move |context: AuthContext<'_>| {
            if !watches.load(Ordering::SeqCst) || may(&context.action, &kept) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        };
        connection.authorizer(Some(authorize)).map_err(|error| failed("guard the database", error))?;
        Ok(Self { watching })
    }

    /// Does something that may be no more than a guest's.
    pub(super) fn watch<V>(&self, guest: impl FnOnce() -> V) -> V {
        /// Ends the watch, also where what is watched panics: kern's own statements are prepared again after it.
        struct Watch<'a>(&'a AtomicBool);
        impl Drop for Watch<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        self.watching.store(true, Ordering::SeqCst);
        let _watch = Watch(&self.watching);
        guest()
    }
}

/// Whether a guest may do something: read and change tables that are neither kern's nor SQLite's own.
fn may(action: &AuthAction<'_>, kept: &[String]) -> bool {
    let sqlites = |table: &str| table.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    let theirs = |table: &str| !sqlites(table) && !kept.iter().any(|kept| kept.eq_ignore_ascii_case(table));
    match action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => theirs(table_name),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        // Full-text tables ask for it by themselves, and it says only whether somebody wrote.
        AuthAction::Pragma { pragma_name, pragma_value: None } => pragma_name.eq_ignore_ascii_case("data_version"),
        _ => false,
    }
}
