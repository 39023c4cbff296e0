//! A log that was exported, verified without its store.

use std::io::BufRead;

use super::checkpoint::Kept;
use super::line::Line;
use super::verify::{Chain, Opened};
use crate::digest::canonical;
use crate::records::audit::{AuditBreak, AuditEntry, AuditReport};
use crate::records::checkpoint::Checkpoint;

/// Verifies the lines of an export: density, hashes, order, the steps of the table, and checkpoints that were kept
/// elsewhere. The rows are not in an export, and nothing is said of them.
///
/// # Errors
///
/// The lines cannot be read. A broken log is not an error but an answer.
pub fn verify_export(lines: impl BufRead, kept: Vec<Checkpoint>) -> std::io::Result<AuditReport> {
    let (mut chain, mut kept) = (Chain::new(), Kept::new(Vec::new(), kept));
    let mut buffer = Vec::new();
    let broken = |chain: &Chain, what: String| AuditReport {
        entries: chain.seq.unsigned_abs(),
        head: chain.head.clone(),
        broken: Some(AuditBreak { seq: chain.seq + 1, row: None, what }),
        others: Vec::new(),
    };
    for line in lines.lines() {
        let line = line?;
        let entry: AuditEntry = match serde_json::from_str(&line) {
            Ok(entry) => entry,
            Err(error) => return Ok(broken(&chain, format!("it is unreadable: {error}"))),
        };
        let (actor, payload) = (canonical(&entry.actor), canonical(&entry.payload));
        let line = Line::of_entry(&entry, &actor, &payload);
        let store_id = match &chain.store {
            Some(store) => Ok(store.store_id.clone()),
            None if line.seq == 1 => Opened::of(&line).map(|opened| opened.store_id),
            None => Err("entry 1 is missing".to_owned()),
        };
        let followed = match store_id.map(|store_id| line.fits(&store_id, &mut buffer)) {
            Err(what) => Err(what),
            Ok(fits) => match fits {
                true => chain.follow(&line),
                false if line.seq == chain.seq + 1 => Err("its hash does not fit its content".to_owned()),
                false => Err(format!("entry {} is missing", chain.seq + 1)),
            },
        };
        if let Err(what) = followed {
            return Ok(broken(&chain, what));
        }
        if let Err(what) = kept.reached(line.seq, line.hash) {
            let mut report = broken(&chain, what);
            report.broken = report.broken.map(|broken| AuditBreak { seq: line.seq, ..broken });
            return Ok(report);
        }
    }
    if chain.seq == 0 {
        return Ok(broken(&chain, "the first entry is missing".to_owned()));
    }
    if let Err(what) = kept.ended(chain.seq) {
        return Ok(broken(&chain, what));
    }
    Ok(AuditReport { entries: chain.seq.unsigned_abs(), head: chain.head, broken: None, others: Vec::new() })
}
