//! A folder of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// An empty folder, removed when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When the place for temporary files cannot be written.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it writes to the disk")]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("kern-test"));
        std::fs::create_dir_all(&path).expect("the place for temporary files can be written");
        Self(path)
    }

    /// Makes one where nothing reaches a disk, if there is such a place: for tests that lose no power.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    #[must_use]
    pub fn in_memory() -> Self {
        let shared = std::path::Path::new("/dev/shm");
        let place = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let path = place.join(unique("kern-test"));
        std::fs::create_dir_all(&path).expect("the place for temporary files can be written");
        Self(path)
    }

    /// Gives the path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Gives its own path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Counts how often a text stands in its files: those of a store with their log and shared memory.
    ///
    /// Another process looks: one that opens and closes a file that it has a store in takes away SQLite's locks on it.
    /// A text to be absent must be one that chance does not write: four digits stand in a digest now and then.
    ///
    /// # Panics
    ///
    /// When the files cannot be searched.
    #[must_use]
    pub fn occurrences(&self, text: &str) -> usize {
        let grep = Command::new("grep").args(["-raoF", "--", text]).arg(&self.0).output().expect("grep can be run");
        assert!(grep.stderr.is_empty() && grep.status.code().is_some_and(|code| code < 2), "{grep:?}");
        grep.stdout.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed has nobody to be told to: the test is over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test has, in this process or another.
#[must_use]
pub fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
