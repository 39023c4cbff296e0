//! Signing checkpoints, and sending them where nobody who can write to the database can change them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::db::DbFuture;
use crate::digest::hex;
use crate::{Audit, AuditBreak, AuditReport, Checkpoint, Error, Result};

/// How often the checkpointer looks how far the log has come.
const LOOK: Duration = Duration::from_millis(500);
/// How long a sink that fails is left alone at the most.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the sinks have when the checkpointer ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// The key that signs checkpoints: 32 bytes, kept outside of the database as 64 hexadecimal digits.
#[derive(Clone)]
pub struct CheckpointKey(SigningKey);

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckpointKey(..)")
    }
}

/// The public half of a [`CheckpointKey`], for whoever verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPublicKey(VerifyingKey);

fn bytes(text: &str, what: &str) -> Result<[u8; 32]> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let text = text.trim().as_bytes();
    let bytes: Option<Vec<u8>> =
        Some(text).filter(|text| text.len() == 64).and_then(|text| text.chunks(2).map(pair).collect());
    // What was read is not repeated: it may be a part of a key.
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::Invalid(format!("{what} is 32 bytes, written as 64 hexadecimal digits")))
}

fn read(path: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Invalid(format!("{what} cannot be read from `{}`: {error}", path.display())))
}

impl CheckpointKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`]: the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let mut seed = [0; 32];
        let failed =
            |error: getrandom::Error| Error::Unavailable { action: "make a key", source: error.to_string().into() };
        getrandom::fill(&mut seed).map_err(failed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key as it is written.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: it is none.
    pub fn from_hex(text: &str) -> Result<Self> {
        Ok(Self(SigningKey::from_bytes(&bytes(text, "a checkpoint key")?)))
    }

    /// Reads a key from a file that holds nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: there is no such file, or it holds no key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_hex(&read(path.as_ref(), "the checkpoint key")?)
    }

    /// Reads a key from an environment variable.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: it is not set, or holds no key.
    pub fn from_env(name: &str) -> Result<Self> {
        let text =
            std::env::var(name).map_err(|_| Error::Invalid(format!("`{name}` is not set to a checkpoint key")))?;
        Self::from_hex(&text)
    }

    /// The key as it is written. Whoever has it can sign.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(self.0.as_bytes())
    }

    /// The half that verifies.
    #[must_use]
    pub fn public(&self) -> CheckpointPublicKey {
        CheckpointPublicKey(self.0.verifying_key())
    }

    fn signer(&self) -> crate::audit::Sign {
        let key = self.0.clone();
        Arc::new(move |text| hex(&key.sign(text.as_bytes()).to_bytes()))
    }
}

impl CheckpointPublicKey {
    /// Reads a public key as it is written.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: it is none.
    pub fn from_hex(text: &str) -> Result<Self> {
        let key = VerifyingKey::from_bytes(&bytes(text, "a public key of checkpoints")?);
        key.map(Self).map_err(|_| Error::Invalid("this is no public key of checkpoints".to_owned()))
    }

    /// Reads a public key from a file that holds nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: there is no such file, or it holds no public key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_hex(&read(path.as_ref(), "the public key")?)
    }

    /// The key as it is written.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(self.0.as_bytes())
    }

    /// Whether a checkpoint was signed by the other half of this key.
    #[must_use]
    pub fn has_signed(&self, checkpoint: &Checkpoint) -> bool {
        let half = |from: usize| checkpoint.signature.get(from..from + 64).and_then(|text| bytes(text, "").ok());
        let (Some(one), Some(other)) = (half(0), half(64)) else { return false };
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&one);
        signature[32..].copy_from_slice(&other);
        let is_whole = checkpoint.signature.len() == 128;
        is_whole && self.0.verify_strict(checkpoint.text().as_bytes(), &Signature::from_bytes(&signature)).is_ok()
    }
}

impl Audit {
    /// Signs how long the log is and what its last entry is: a new checkpoint, or the last one where nothing was added since.
    /// `None`: nothing was added at all.
    ///
    /// # Errors
    ///
    /// - [`Error::Corrupt`]: the log does not go on from the last checkpoint. It is not signed.
    /// - As every method of [`Db`](crate::Db).
    pub async fn checkpoint(&self, key: &CheckpointKey) -> Result<Option<Checkpoint>> {
        self.store().audit_checkpoint(key.signer()).await
    }

    /// Makes checkpoints in the background from now on.
    pub fn checkpointer(&self, key: CheckpointKey) -> CheckpointerBuilder {
        CheckpointerBuilder {
            audit: self.clone(),
            key,
            entries: 100,
            interval: Duration::from_secs(60),
            sinks: Vec::new(),
        }
    }

    /// As [`verify_against`](Self::verify_against), and every checkpoint, those of the store and those that were kept
    /// elsewhere, must have been signed by the other half of this key.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`](crate::Db). A broken log is not an error but an answer.
    pub async fn verify_signed(&self, kept: Vec<Checkpoint>, key: &CheckpointPublicKey) -> Result<AuditReport> {
        let mut unsigned = unsigned(&kept, key, "a checkpoint that was kept elsewhere");
        let mut after = 0;
        loop {
            let page = self.checkpoints(after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = last.size;
            unsigned.extend(self::unsigned(&page, key, "checkpoints"));
        }
        Ok(self.verify_against(kept).await?.with(unsigned))
    }
}

/// The checkpoints that a key has not signed.
#[must_use]
pub fn unsigned(checkpoints: &[Checkpoint], key: &CheckpointPublicKey, whose: &str) -> Vec<AuditBreak> {
    let unsigned = checkpoints.iter().filter(|checkpoint| !key.has_signed(checkpoint));
    let found = |checkpoint: &Checkpoint| AuditBreak {
        seq: checkpoint.size,
        row: Some(format!("{whose} `{}`", checkpoint.size)),
        what: "it was not signed by this key".to_owned(),
    };
    unsigned.map(found).collect()
}

/// Where checkpoints are sent. One that fails is tried again later, and holds up nothing else.
pub trait CheckpointSink: Send + Sync + 'static {
    /// What deliveries are remembered by. It stays the same over restarts.
    fn name(&self) -> String;

    /// Takes a checkpoint. It may come a second time.
    ///
    /// # Errors
    ///
    /// It was not taken.
    fn deliver(&self, checkpoint: Checkpoint) -> DbFuture<'_, ()>;
}

/// Adds each checkpoint to a file, as one line of JSON, and waits until it is on the disk.
#[derive(Clone, Debug)]
pub struct FileSink(PathBuf);

impl FileSink {
    /// Adds to this file, and makes it where there is none.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl CheckpointSink for FileSink {
    fn name(&self) -> String {
        format!("file:{}", self.0.display())
    }

    fn deliver(&self, checkpoint: Checkpoint) -> DbFuture<'_, ()> {
        let path = self.0.clone();
        Box::pin(async move {
            let write = move || {
                // A line of its own, also after one that a crash has cut off.
                let cut = std::fs::read(&path).is_ok_and(|found| !found.is_empty() && !found.ends_with(b"\n"));
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path)?;
                let line = format!("{}{}\n", if cut { "\n" } else { "" }, crate::digest::canonical(&checkpoint));
                file.write_all(line.as_bytes())?;
                file.sync_all()
            };
            let failed =
                |error: std::io::Error| Error::Unavailable { action: "keep a checkpoint", source: Box::new(error) };
            let written = tokio::task::spawn_blocking(write).await;
            written.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
        })
    }
}

/// Writes each checkpoint to standard output, as one line of JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdoutSink;

impl CheckpointSink for StdoutSink {
    fn name(&self) -> String {
        "stdout".to_owned()
    }

    fn deliver(&self, checkpoint: Checkpoint) -> DbFuture<'_, ()> {
        Box::pin(async move {
            let mut out = std::io::stdout().lock();
            let written = writeln!(out, "{}", crate::digest::canonical(&checkpoint)).and_then(|()| out.flush());
            written.map_err(|error| Error::Unavailable { action: "write a checkpoint", source: Box::new(error) })
        })
    }
}

/// Settings of a [`Checkpointer`].
#[must_use = "nothing is signed until `spawn` is called"]
pub struct CheckpointerBuilder {
    audit: Audit,
    key: CheckpointKey,
    entries: u32,
    interval: Duration,
    sinks: Vec<Arc<dyn CheckpointSink>>,
}

impl std::fmt::Debug for CheckpointerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointerBuilder").finish_non_exhaustive()
    }
}

impl CheckpointerBuilder {
    /// Sets after how many entries there is a checkpoint. 100 by default.
    pub fn entries(mut self, entries: u32) -> Self {
        self.entries = entries.max(1);
        self
    }

    /// Sets after how long there is a checkpoint of what was added since. 60 seconds by default.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sends every checkpoint there, those included that another process or an earlier one has made.
    pub fn sink(mut self, sink: impl CheckpointSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Starts it, on the tokio runtime that this is called on.
    pub fn spawn(self) -> Checkpointer {
        let (stop, stopped) = watch::channel(false);
        let (made, news) = watch::channel(0);
        let Self { audit, key, entries, interval, sinks } = self;
        let sinks = sinks.into_iter().map(|sink| tokio::spawn(send(audit.clone(), sink, news.clone()))).collect();
        let maker = tokio::spawn(make(audit, key, (entries, interval), stopped, made));
        Checkpointer { stop, maker, sinks }
    }
}

/// Makes checkpoints until it is stopped. Dropping it stops it without a last one.
#[derive(Debug)]
pub struct Checkpointer {
    stop: watch::Sender<bool>,
    maker: JoinHandle<()>,
    sinks: Vec<JoinHandle<()>>,
}

impl Checkpointer {
    /// Makes the last checkpoint, gives the sinks a few seconds, and ends.
    pub async fn stop(self) {
        let Self { stop, maker, sinks } = self;
        stop.send_replace(true);
        // A maker that panicked has said so.
        let _ = maker.await;
        for mut sink in sinks {
            if tokio::time::timeout(FAREWELL, &mut sink).await.is_err() {
                // What it did not take is remembered, and sent by the next one.
                sink.abort();
            }
        }
    }
}

async fn make(
    audit: Audit,
    key: CheckpointKey,
    (entries, interval): (u32, Duration),
    mut stopped: watch::Receiver<bool>,
    made: watch::Sender<i64>,
) {
    let (mut size, mut since) = (0, Instant::now());
    loop {
        // An error of the channel means that the handle was dropped.
        let last = match tokio::time::timeout(LOOK, stopped.changed()).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => return,
            Err(_) => false,
        };
        let head = match audit.store().audit_head().await {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(%error, "the audit log cannot be looked at for a checkpoint");
                size
            }
        };
        let due = head.saturating_sub(size) >= i64::from(entries) || since.elapsed() >= interval;
        if head > size && (due || last) {
            match audit.checkpoint(&key).await {
                Ok(Some(checkpoint)) => {
                    (size, since) = (checkpoint.size, Instant::now());
                    made.send_replace(size);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the audit log got no checkpoint"),
            }
        }
        if last {
            return;
        }
    }
}

/// Sends one sink what it does not have yet. Ends with the maker, after one last look.
async fn send(audit: Audit, sink: Arc<dyn CheckpointSink>, mut news: watch::Receiver<i64>) {
    let name = sink.name();
    let (mut wait, mut backoff) = (LOOK, LOOK);
    loop {
        let over = matches!(tokio::time::timeout(wait, news.changed()).await, Ok(Err(_)));
        wait = match deliver(&audit, &*sink, &name).await {
            Ok(()) => {
                backoff = LOOK;
                PATIENCE
            }
            Err(error) => {
                tracing::warn!(%error, sink = name, "a checkpoint was not delivered, and is sent again later");
                backoff = (backoff * 2).min(PATIENCE);
                backoff
            }
        };
        if over {
            return;
        }
    }
}

async fn deliver(audit: &Audit, sink: &dyn CheckpointSink, name: &str) -> Result<()> {
    loop {
        let waiting = audit.store().audit_undelivered(name.to_owned(), 100).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        for checkpoint in waiting {
            let size = checkpoint.size;
            sink.deliver(checkpoint).await?;
            audit.store().audit_delivered(size, name.to_owned()).await?;
        }
    }
}
