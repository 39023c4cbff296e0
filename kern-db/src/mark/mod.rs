//! The mark: the audit log as a process last knew it, kept outside the database.
//!
//! A store that was set back cannot be told from its rows: the older log is intact. The mark outlives it, and a log that
//! lacks the mark's head was set back.

pub(crate) mod compare;
pub(crate) mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// The log as a process last knew it.
///
/// Sizes and heads have one element for each shard of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mark {
    /// The store's id.
    pub store_id: String,
    /// The epoch in which it was written.
    pub epoch: String,
    /// How many entries each shard has.
    pub sizes: Vec<i64>,
    /// The hash of the last entry of each shard.
    pub heads: Vec<String>,
    /// The log of a quarantined store, while `heads` keeps what it lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Heads>,
    /// The host that keeps it, and the database that it was written for. PostgreSQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<MarkHost>,
}

/// The host that keeps a mark, and the database that it was written for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MarkHost {
    /// 128 random bits, in hexadecimal: the host's id in `kern_hosts`.
    pub id: String,
    /// The cluster's system identifier, the database's oid and the timeline: `7341…/16384/00000001`.
    pub server: String,
}

/// Sizes and heads of a log, with one element for each shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Heads {
    /// How many entries each shard has.
    pub sizes: Vec<i64>,
    /// The hash of the last entry of each shard.
    pub heads: Vec<String>,
}

/// A place that keeps a mark outside the database.
///
/// Both methods block; a store calls them on a thread of its own. A mark that `compare_and_set` has written survives a
/// crash of the machine.
pub trait MarkSink: fmt::Debug + Send + Sync {
    /// Reads the mark. `None`: there is none yet.
    ///
    /// # Errors
    ///
    /// The place cannot be read, or holds something else than a mark.
    fn load(&self) -> io::Result<Option<Mark>>;

    /// Replaces the mark if it still is the expected one, and says whether it did.
    ///
    /// # Errors
    ///
    /// The place cannot be written. Whether the mark was replaced is then unknown.
    fn compare_and_set(&self, expected: Option<&Mark>, new: &Mark) -> io::Result<bool>;
}

/// The place of a mark: a file, or a [`MarkSink`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MarkPlace {
    /// A file.
    File(PathBuf),
    /// Another place, for example one that several hosts share.
    Sink(Arc<dyn MarkSink>),
}

impl From<PathBuf> for MarkPlace {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for MarkPlace {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&str> for MarkPlace {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<String> for MarkPlace {
    fn from(path: String) -> Self {
        Self::File(path.into())
    }
}

impl From<Arc<dyn MarkSink>> for MarkPlace {
    fn from(sink: Arc<dyn MarkSink>) -> Self {
        Self::Sink(sink)
    }
}
