//! The audit log, and whether it is whole.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use kern_db::AuditEntry;

use super::{Failure, Frame, When, page as made, safe};
use crate::os::Os;
use crate::os::access::Who;
use crate::os::fields::Fields;

/// Entries on one page.
const ROWS: u32 = 100;

struct Row {
    seq: i64,
    when: When,
    action: String,
    actor: String,
    run_id: Option<String>,
    payload: String,
    is_evidence: bool,
    hash: String,
}

impl Row {
    fn of(entry: &AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            when: When::of(entry.at_ms / 1000),
            action: safe(&entry.action),
            actor: safe(&entry.actor.to_string()),
            run_id: entry.run_id.as_ref().map(ToString::to_string),
            payload: safe(&entry.payload.to_string()),
            is_evidence: entry.evidence,
            hash: entry.hash.clone(),
        }
    }
}

/// What verifying it has found.
struct Verified {
    is_intact: bool,
    entries: u64,
    head: String,
    took: String,
    found: Vec<String>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    verified: Option<Verified>,
    /// The number after which older entries are.
    older: Option<i64>,
}

async fn shown(os: &Os, who: &Who, before: Option<i64>, verified: Option<Verified>) -> Result<Response, Failure> {
    let end = match before {
        Some(before) => before,
        None => os.db.audit_head().await?.saturating_add(1),
    };
    let first = end.saturating_sub(i64::from(ROWS) + 1).max(0);
    let entries = os.db.audit().entries(first, ROWS).await?;
    let rows = entries.iter().filter(|entry| entry.seq < end).rev().map(Row::of).collect();
    let frame = Frame::new(os, who, "/panel/audit", "Audit log").await?;
    Ok(made(&Page { frame, rows, verified, older: (first > 0).then_some(first + 1) }))
}

pub(super) async fn page(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let mut fields = Fields::of_query(query.as_deref());
    let before = fields.number("before", 1..=i64::MAX);
    fields.done()?;
    shown(&os, &who, before, None).await
}

pub(super) async fn verify(State(os): State<Arc<Os>>, who: Who) -> Result<Response, Failure> {
    let started = Instant::now();
    let report = os.db.audit().verify().await?;
    let took = format!("{:.2} s", started.elapsed().as_secs_f64());
    let found = report.broken.iter().chain(&report.others).map(|found| {
        let place = found.row.as_ref().map(|row| format!("{row}: ")).unwrap_or_default();
        safe(&format!("entry {}: {place}{}", found.seq, found.what))
    });
    let verified = Verified {
        is_intact: report.is_intact(),
        entries: report.entries,
        head: report.head.clone(),
        took,
        found: found.collect(),
    };
    shown(&os, &who, None, Some(verified)).await
}
