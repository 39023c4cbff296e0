//! What a command ends with.

use std::error::Error as _;

use kern::{db, display};

use crate::output;
use crate::words::{moment, now};

/// What a command ends with.
pub(crate) type Outcome<T = Answer> = Result<T, Failure>;

/// A command that did what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Answer {
    /// It is done, or shown.
    Done,
    /// The answer is no, and has been said.
    No,
}

impl Answer {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => Failure::NO,
        }
    }
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(crate) struct Failure {
    code: &'static str,
    message: String,
    exit: u8,
}

impl Failure {
    /// Exit code: the answer is no.
    pub(crate) const NO: u8 = 1;
    /// Exit code: it could not be done.
    pub(crate) const COULD_NOT: u8 = 2;

    /// The answer is no.
    pub(crate) fn no(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Self::NO }
    }

    /// It could not be done.
    pub(crate) fn could_not(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Self::COULD_NOT }
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says what had happened before it went wrong.
    pub(crate) fn after(mut self, done: &str) -> Self {
        self.message = format!("{done}, but {}", self.message);
        self
    }

    /// Says it in one line on standard error, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> u8 {
        if json {
            let error = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
            output::to_people(&output::inert(&error.to_string()));
        } else {
            // A message may name what somebody else wrote.
            output::to_people(&format!("kern: {}", display::text(&self.message)));
        }
        self.exit
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        let code = error.code();
        let message = if error.source().is_some() { chain(&error) } else { error.to_string() };
        match &error {
            db::Error::NotFound { entity, .. } => {
                let list = if *entity == "execution" { "executions" } else { "approvals" };
                Self::no(code, format!("{message}: `kern {list} list --status any` lists them"))
            }
            db::Error::StaleView { id: approval, .. } => {
                Self::no(code, format!("{message}, which `kern approvals show {approval}` gives: add --digest"))
            }
            db::Error::Conflict { id, found, by, at, .. } => {
                let by = by.as_deref().map(|by| format!(", by {by}")).unwrap_or_default();
                let at = at.map(|at| format!(", {}", moment(at, now()))).unwrap_or_default();
                Self::no(code, format!("approval `{id}` is already {found}{by}{at}: nothing was changed"))
            }
            db::Error::ExecutionConflict { .. } | db::Error::RunConflict { .. } => {
                Self::no(code, format!("{message}, nothing was changed"))
            }
            db::Error::Expired { .. } | db::Error::Lapsed { .. } | db::Error::NotPermitted { .. } => {
                Self::no(code, message)
            }
            db::Error::DigestMismatch { .. } => {
                Self::no(code, format!("{message}: somebody may have changed the database, nothing was decided"))
            }
            db::Error::Busy { .. } => Self::could_not(code, format!("{message}: another process holds it, try again")),
            db::Error::Full { .. } => Self::could_not(code, format!("{message}: make room, nothing was changed")),
            _ => Self::could_not(code, message),
        }
    }
}
