//! Reads that many ask for at the same moment, made once for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

/// Reads that are under way, by what they are about.
///
/// A change wakes all listeners together, and each would read the same. A caller who comes while a read is under way gets its
/// result, which may be older than the call. When the last of these callers has it, the next one reads anew.
#[derive(Debug)]
pub(super) struct Shared<K, V>(Mutex<HashMap<K, Weak<OnceCell<V>>>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Shared<K, V> {
    /// Reads, or waits for the caller who does. If that caller fails or goes away, the next one reads.
    pub(super) async fn read<E, F>(&self, key: K, read: impl FnOnce() -> F) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let cell = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, cell| cell.strong_count() > 0);
            match all.get(&key).and_then(Weak::upgrade) {
                Some(cell) => cell,
                None => {
                    let cell = Arc::new(OnceCell::new());
                    all.insert(key, Arc::downgrade(&cell));
                    cell
                }
            }
        };
        cell.get_or_try_init(read).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_ask_together_share_one_read_and_the_next_one_reads_anew() {
        let (shared, reads) = (Arc::new(Shared::default()), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let (shared, reads) = (Arc::clone(&shared), Arc::clone(&reads));
            tokio::spawn(async move {
                let read = || async {
                    tokio::task::yield_now().await;
                    Ok::<_, ()>(reads.fetch_add(1, Ordering::SeqCst))
                };
                shared.read("key", read).await
            })
        };
        let asked: Vec<_> = (0..600).map(|_| ask()).collect();
        for asked in asked {
            assert_eq!(asked.await.expect("it ends"), Ok(0));
        }
        assert_eq!(ask().await.expect("it ends"), Ok(1));
    }
}
