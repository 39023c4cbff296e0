//! Waiting for changes: a connection of its own that listens. What it tells is a hint; what counts is what is stored.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Before the next try to connect.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Changes {
    config: Config,
    tls: MakeRustlsConnect,
    channel: String,
    /// Said to the server first.
    settings: String,
    /// Counts what was heard.
    heard: watch::Sender<u64>,
    /// Listens since somebody waited for the first time.
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Changes {
    pub(super) fn new(config: Config, tls: MakeRustlsConnect, channel: String, settings: String) -> Self {
        Self { config, tls, channel, settings, heard: watch::Sender::new(0), listening: Mutex::new(None) }
    }

    /// Waits until somebody has committed something that others are told of, or may have while nobody listened.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + use<> {
        // From now on, not from when it is awaited.
        let mut heard = self.heard.subscribe();
        {
            let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
            // One that was started on a runtime that is gone is gone with it.
            if listening.as_ref().is_none_or(JoinHandle::is_finished) {
                let first = format!("{}; LISTEN {}", self.settings, self.channel);
                let listener = listen(self.config.clone(), self.tls.clone(), first, self.heard.clone());
                *listening = Some(tokio::spawn(listener));
            }
        }
        async move {
            // It fails if the store is gone, and then nothing changes any more.
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let listening = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listening) = listening.take() {
            listening.abort();
        }
    }
}

/// Tells that something may have changed.
fn tell(heard: &watch::Sender<u64>) {
    heard.send_modify(|count| *count = count.wrapping_add(1));
}

async fn listen(config: Config, tls: MakeRustlsConnect, first: String, heard: watch::Sender<u64>) {
    loop {
        if let Ok((client, mut connection)) = config.connect(tls.clone()).await {
            let (told, schema) = (heard.clone(), Arc::new(OnceLock::<String>::new()));
            let ours = Arc::clone(&schema);
            let driver = Owned(tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                    // A store in another schema of the database tells its own.
                    if let AsyncMessage::Notification(told_of) = message
                        && ours.get().is_some_and(|ours| ours == told_of.payload())
                    {
                        tell(&told);
                    }
                }
            }));
            if let Ok(row) = client.query_one("SELECT coalesce(current_schema()::text, '')", &[]).await
                && let Ok(found) = row.try_get(0)
                && schema.set(found).is_ok()
                && client.batch_execute(&first).await.is_ok()
            {
                // What came before it listened was heard by nobody.
                tell(&heard);
                driver.ended().await;
                tell(&heard);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A task that ends with whoever waits for it.
struct Owned(JoinHandle<()>);

impl Owned {
    async fn ended(mut self) {
        // How it ended does not matter: the connection is gone.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}
