//! `kern audit checkpoint` and `keygen`, and what `verify` is given to hold a log against.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

use kern::db::{
    Checkpoint, CheckpointKey, CheckpointPublicKey, CheckpointSink as _, Db, FileSink, unsigned, verify_export,
};
use serde_json::json;

use crate::audit::tell;
use crate::call::safe;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::Output;

/// The variable that holds the key where no option names a file.
const VARIABLE: &str = "KERN_CHECKPOINT_KEY";

/// What a log is held against.
pub(crate) struct Kept {
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) key: Option<CheckpointPublicKey>,
}

fn cannot_read(path: &Path, error: impl std::fmt::Display) -> Failure {
    let shown = safe(&path.display().to_string());
    Failure::could_not("invalid", format!("`{shown}` cannot be read: {error}"))
}

impl Kept {
    pub(crate) fn read(checkpoints: Option<&Path>, key: Option<&Path>) -> Outcome<Self> {
        let key = key.map(CheckpointPublicKey::from_file).transpose()?;
        let Some(path) = checkpoints else { return Ok(Self { checkpoints: Vec::new(), key }) };
        let text = std::fs::read_to_string(path).map_err(|error| cannot_read(path, error))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let checkpoints: Result<Vec<Checkpoint>, _> = lines.map(serde_json::from_str).collect();
        let checkpoints = checkpoints.map_err(|error| cannot_read(path, error))?;
        if checkpoints.is_empty() {
            return Err(cannot_read(path, "there is no checkpoint in it"));
        }
        Ok(Self { checkpoints, key })
    }
}

pub(crate) fn verify_file(output: &mut Output, path: &Path, kept: Kept, json: bool) -> Outcome {
    let file = File::open(path).map_err(|error| cannot_read(path, error))?;
    let Kept { checkpoints, key } = kept;
    let held = !checkpoints.is_empty();
    let forged = key.map(|key| unsigned(&checkpoints, &key, "a checkpoint that was kept elsewhere"));
    let report = verify_export(BufReader::new(file), checkpoints).map_err(|error| cannot_read(path, error))?;
    tell(output, &report.with(forged.unwrap_or_default()), held, json)
}

pub(crate) fn key(path: Option<&Path>) -> Outcome<CheckpointKey> {
    match path {
        Some(path) => Ok(CheckpointKey::from_file(path)?),
        None if std::env::var_os(VARIABLE).is_some() => Ok(CheckpointKey::from_env(VARIABLE)?),
        None => {
            let message =
                format!("which key? give --key FILE, or set {VARIABLE}; `kern audit keygen --key FILE` makes one");
            Err(Failure::could_not("no_key", message))
        }
    }
}

pub(crate) async fn make(
    output: &mut Output,
    db: &dyn Db,
    key: &CheckpointKey,
    file: Option<PathBuf>,
    json: bool,
) -> Outcome {
    let Some(checkpoint) = db.audit().checkpoint(key).await? else {
        return Err(Failure::no("empty", "the log is empty: there is nothing to sign yet"));
    };
    if let Some(path) = &file {
        FileSink::new(path).deliver(checkpoint.clone()).await?;
    }
    match file {
        Some(path) if !json => {
            output.line(format!("{} entries signed into {}", checkpoint.size, safe(&path.display().to_string())))?;
        }
        _ => output.json(&checkpoint)?,
    }
    Ok(Answer::Done)
}

pub(crate) fn keygen(output: &mut Output, path: &Path, json: bool) -> Outcome {
    let key = CheckpointKey::generate()?;
    let public = PathBuf::from(format!("{}.pub", path.display()));
    write(path, &key.to_hex(), true)?;
    if let Err(failure) = write(&public, &key.public().to_hex(), false) {
        return Err(failure.after(&format!("`{}` holds a new key", safe(&path.display().to_string()))));
    }
    if json {
        output.json(&json!({ "key": path, "public": public, "pubkey": key.public().to_hex() }))?;
        return Ok(Answer::Done);
    }
    output.line(format!("key: {} (keep it away from the database)", safe(&path.display().to_string())))?;
    output.line(format!("public key: {} (give it to whoever verifies)", safe(&public.display().to_string())))?;
    Ok(Answer::Done)
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str, secret: bool) -> Outcome<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let written: io::Result<()> = options.open(path).and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.sync_all()
    });
    let shown = safe(&path.display().to_string());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::could_not("output", format!("`{shown}` is there already: name a file that is not"))
        }
        _ => Failure::could_not("output", format!("`{shown}` cannot be written: {error}")),
    })
}
