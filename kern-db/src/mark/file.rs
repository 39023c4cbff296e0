//! A mark in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Mark, MarkSink};
use crate::digest::sha256;

/// Bytes of one of the two records of a mark's file.
const RECORD: usize = 4096;

/// A mark in a file.
///
/// The file has two records, which are written in turn: a write that a crash cut short leaves the other record as it was.
#[derive(Debug)]
pub(crate) struct MarkFile {
    path: PathBuf,
    /// The bytes that were read last, and the mark in them: the same bytes need not be read as JSON again.
    last: Mutex<(Vec<u8>, Found)>,
}

/// One record of the file.
#[derive(Serialize, Deserialize)]
struct Record {
    /// One more with each write: the larger one counts.
    count: u64,
    mark: Mark,
    /// The SHA-256 of the count and the mark.
    sum: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
struct Found {
    count: u64,
    mark: Option<Mark>,
}

impl MarkFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("the mark `{}`: {error}", self.path.display()))
    }

    fn read(&self, file: &mut File) -> io::Result<Found> {
        let mut bytes = Vec::with_capacity(2 * RECORD);
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        // Only a whole pair is kept here, so that a panic elsewhere leaves nothing wrong.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != bytes {
            let found = Self::parse(&bytes)?;
            *last = (bytes, found);
        }
        Ok(last.1.clone())
    }

    fn parse(bytes: &[u8]) -> io::Result<Found> {
        let records = bytes.chunks(RECORD).filter_map(|chunk| {
            let record: Record = serde_json::from_str(std::str::from_utf8(chunk).ok()?.trim_end()).ok()?;
            (record.sum == sum(record.count, &record.mark)).then_some(record)
        });
        match records.max_by_key(|record| record.count) {
            Some(record) => Ok(Found { count: record.count, mark: Some(record.mark) }),
            // It was made a moment ago, and nothing was written yet.
            None if bytes.iter().all(|byte| *byte == 0) => Ok(Found::default()),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the file holds no mark that can be read")),
        }
    }

    fn try_load(&self) -> io::Result<Option<Mark>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // What is read under the lock was synced by its writer.
        file.lock_shared()?;
        Ok(self.read(&mut file)?.mark)
    }

    fn try_set(&self, expected: Option<&Mark>, new: &Mark) -> io::Result<bool> {
        let mut options = OpenOptions::new();
        // One that is gone is not the expected one, and is not made again here.
        options.read(true).write(true).create(expected.is_none()).truncate(false);
        let mut file = match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && expected.is_some() => return Ok(false),
            opened => opened?,
        };
        file.lock()?;
        let found = self.read(&mut file)?;
        if found.mark.as_ref() != expected {
            return Ok(false);
        }
        let count = found.count + 1;
        let record = Record { count, mark: new.clone(), sum: sum(count, new) };
        let mut bytes = serde_json::to_vec(&record)?;
        if bytes.len() >= RECORD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a mark of so many shards has no room in the file",
            ));
        }
        bytes.resize(RECORD - 1, b' ');
        bytes.push(b'\n');
        file.seek(SeekFrom::Start(if count % 2 == 0 { RECORD as u64 } else { 0 }))?;
        file.write_all(&bytes)?;
        if found.mark.is_some() {
            file.sync_data()?;
        } else {
            file.sync_all()?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(true)
    }
}

impl MarkSink for MarkFile {
    fn load(&self) -> io::Result<Option<Mark>> {
        self.try_load().map_err(|error| self.named(error))
    }

    fn compare_and_set(&self, expected: Option<&Mark>, new: &Mark) -> io::Result<bool> {
        self.try_set(expected, new).map_err(|error| self.named(error))
    }
}

fn sum(count: u64, mark: &Mark) -> String {
    let text = serde_json::to_string(&(count, mark)).unwrap_or_default();
    sha256(&text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "an error of a file is what a test shows")]

    use super::*;

    fn mark(size: i64) -> Mark {
        let heads = vec![sha256(&size.to_string())];
        Mark {
            store_id: "store".to_owned(),
            epoch: "one".to_owned(),
            sizes: vec![size],
            heads,
            quarantined: None,
            host: None,
        }
    }

    fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kern-mark-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_mark_is_replaced_only_where_it_is_the_expected_one() {
        let sink = MarkFile::new(place("expected"));
        assert_eq!(sink.load().unwrap(), None);
        assert!(!sink.compare_and_set(Some(&mark(1)), &mark(2)).unwrap());
        assert!(sink.compare_and_set(None, &mark(1)).unwrap());
        assert!(!sink.compare_and_set(None, &mark(2)).unwrap());
        for size in 1..20 {
            assert!(sink.compare_and_set(Some(&mark(size)), &mark(size + 1)).unwrap());
            assert_eq!(sink.load().unwrap(), Some(mark(size + 1)));
        }
    }

    #[test]
    fn a_mark_that_was_removed_is_not_made_by_who_expects_one() {
        let path = place("removed");
        let sink = MarkFile::new(path.clone());
        assert!(sink.compare_and_set(None, &mark(1)).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!sink.compare_and_set(Some(&mark(1)), &mark(2)).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_mark_before_it() {
        let path = place("torn");
        let sink = MarkFile::new(path.clone());
        assert!(sink.compare_and_set(None, &mark(1)).unwrap());
        assert!(sink.compare_and_set(Some(&mark(1)), &mark(2)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        // The third write goes over the first record.
        for cut in [1, 40, 200, 300] {
            let mut torn = whole.clone();
            torn[..cut].fill(b'x');
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(sink.load().unwrap(), Some(mark(2)), "{cut} bytes");
        }
        std::fs::write(&path, vec![b'x'; 2 * RECORD]).unwrap();
        assert_eq!(sink.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
