//! Evidence that one request leaves about many items: one entry with a count, and not an entry for each of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::Entry;

/// Ids that the entry names.
const NAMED: usize = 20;

/// Gathers the evidence of one request. Clones gather together.
///
/// A client may send thousands of forged answers in one request. An entry stays for good, and every decision about the run
/// reads its entries.
#[derive(Clone, Debug, Default)]
pub struct Gathered(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    /// Of the first item; the others are counted and named in its payload.
    entry: Option<Entry>,
    count: u64,
    /// The first ones, each of them once.
    ids: Vec<String>,
}

impl Gathered {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is nothing to be recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found().entry.is_none()
    }

    pub(crate) fn add(&self, id: &str, entry: Entry) {
        let mut found = self.found();
        found.count += 1;
        if found.ids.len() < NAMED && !found.ids.iter().any(|named| named == id) {
            found.ids.push(id.to_owned());
        }
        found.entry.get_or_insert(entry);
    }

    /// The one entry. `None`: nothing was gathered, or it was taken before.
    pub(crate) fn take(&self) -> Option<Entry> {
        let found = std::mem::take(&mut *self.found());
        let mut entry = found.entry?;
        if let (Value::Object(payload), true) = (&mut entry.payload, found.count > 1) {
            payload.insert("count".to_owned(), json!(found.count));
            payload.insert("ids".to_owned(), json!(found.ids));
        }
        Some(entry)
    }
}

/// Two decisions are equal whatever evidence they gather.
impl PartialEq for Gathered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
