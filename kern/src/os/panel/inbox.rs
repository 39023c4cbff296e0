//! What waits for somebody, and what was decided.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kern_db::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, Candidates, Gathered, Principal, Resolution};

use super::runs::part;
use super::{Failure, Frame, When, page as made, prose, safe};
use crate::display::{self, Argument};
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::{Who, shows};
use crate::os::fields::Fields;
use crate::os::problem::Problem;
use crate::run::blocked::blocked as blocked_here;

/// Approvals on one page.
const ROWS: u32 = 100;
/// Approvals that are searched: the newest.
const SEARCHED: u32 = 1000;
/// Approvals that one question is about.
pub(super) const MANY: usize = 100;

/// Decided runs of an agent that are looked at.
const LOOKED_AT: u32 = 50;

/// An approval in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) digest: String,
    pub(super) tool: String,
    pub(super) agent: String,
    pub(super) asked_by: Option<String>,
    pub(super) arguments: Vec<Argument>,
    pub(super) has_warnings: bool,
    pub(super) status: &'static str,
    pub(super) is_pending: bool,
    pub(super) asked: When,
    pub(super) expires: Option<When>,
    pub(super) decided: Option<When>,
    pub(super) decided_by: Option<String>,
    pub(super) is_verified: bool,
    pub(super) note: Option<String>,
    pub(super) votes: usize,
    pub(super) quorum: u32,
    /// How the call ended, where it ran.
    pub(super) ended: Option<&'static str>,
}

/// The requester's name, with every link of its chain.
fn chain_of(requester: &Principal) -> String {
    let links: Vec<&str> = requester.on_behalf_of.iter().map(|link| &*link.subject).collect();
    match links.is_empty() {
        true => requester.subject.clone(),
        false => format!("{}, with {}", requester.subject, links.join(", ")),
    }
}

impl Row {
    pub(super) fn of(approval: &Approval) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(safe);
        let arguments = display::arguments(&approval.tool_args.clone().unwrap_or_default(), &approval.sensitive);
        let note = approval.resolution_data.as_ref().and_then(|data| data.get("note")).and_then(|note| note.as_str());
        let votes = approval.votes.iter().filter(|vote| vote.version == approval.version).count();
        Self {
            id: approval.id.to_string(),
            digest: approval.digest.clone(),
            tool: safe(approval.tool_name.as_deref().unwrap_or_default()),
            agent: safe(approval.source_name.as_deref().or(approval.agent_id.as_deref()).unwrap_or_default()),
            asked_by: approval.requester.as_ref().map(|requester| safe(&chain_of(requester))),
            has_warnings: arguments.iter().any(|argument| !argument.value.warnings.is_empty()),
            arguments,
            status: approval.status.as_str(),
            is_pending: approval.status == ApprovalStatus::Pending,
            asked: When::of(approval.created_at),
            expires: approval.expires_at.map(When::of),
            decided: approval.resolved_at.map(When::of),
            decided_by: text(&approval.resolved_by),
            is_verified: approval.resolved_by_verified,
            note: note.map(safe),
            votes,
            quorum: approval.quorum,
            ended: approval.execution.as_ref().map(|execution| execution.status.as_str()),
        }
    }

    /// Whether it has a text in it.
    fn has(approval: &Approval, text: &str) -> bool {
        let has = |found: &str| found.to_lowercase().contains(text);
        let named =
            [&approval.tool_name, &approval.agent_id, &approval.source_name, &approval.user_id, &approval.resolved_by];
        let hidden = |name: &String| approval.sensitive.contains(name);
        named.into_iter().flatten().any(|name| has(name))
            || has(approval.id.as_str())
            || approval.tool_args.iter().flatten().any(|(name, value)| !hidden(name) && has(&value.to_string()))
    }
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    frame: Frame,
    shown: &'static str,
    search: String,
    /// The search as a part of an address.
    query: String,
    rows: Vec<Row>,
    total: u64,
    number: u32,
    has_more: bool,
    decides: bool,
    blocked: Vec<Blocked>,
}

/// A run that is decided and cannot continue.
struct Blocked {
    run_id: String,
    path: String,
    why: String,
}

/// Runs that are decided and cannot continue with the tools of this server: nothing else would show that they wait. Only the
/// first ones of each agent are looked at, since a decided run is seldom there for long.
async fn blocked(os: &Os, who: &Who) -> Result<Vec<Blocked>, Problem> {
    let mut found = Vec::new();
    for agent in &os.agents {
        let page = Candidates::Page { after: None, limit: LOOKED_AT };
        for run_id in os.db.resumable_runs(agent.id().to_owned(), page).await?.decided {
            let run = os.db.get_run(&run_id).await?;
            let is_shown = shows(who.only_approvals(), run.requester.as_ref());
            let Some(why) = blocked_here(&agent.0, &run).filter(|_| is_shown && run.deleted_at_ms.is_none()) else {
                continue;
            };
            found.push(Blocked {
                path: part(run_id.as_str()),
                run_id: safe(run_id.as_str()),
                why: prose(&why.sentence()),
            });
        }
    }
    Ok(found)
}

pub(super) async fn page(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let mut fields = Fields::of_query(query.as_deref());
    let shown = match fields.text("shown").as_deref() {
        Some("decided") => "decided",
        Some("all") => "all",
        _ => "waiting",
    };
    let search = fields.text("search").unwrap_or_default();
    let number = fields.number("page", 1..=u32::MAX).unwrap_or(1);
    fields.done()?;
    let rows = if search.is_empty() { ROWS } else { SEARCHED };
    let mut filter = ApprovalFilter::new().limit(rows).page(number);
    if shown == "waiting" {
        filter = filter.status(ApprovalStatus::Pending);
    }
    if let Some(only) = who.only_approvals() {
        filter = filter.user_id(only);
    }
    let found = os.db.list_approvals(filter).await?;
    let wanted = search.to_lowercase();
    let rows: Vec<Row> = found
        .data
        .iter()
        .filter(|approval| shown != "decided" || approval.status != ApprovalStatus::Pending)
        .filter(|approval| wanted.is_empty() || Row::has(approval, &wanted))
        .map(Row::of)
        .collect();
    Ok(made(&Inbox {
        frame: Frame::new(&os, &who, "/panel", "Inbox").await?,
        shown,
        query: part(&search),
        search,
        rows,
        total: found.meta.total_count,
        number,
        has_more: u64::from(number) < found.meta.total_pages,
        decides: who.may(&Scope::ApprovalsWrite),
        blocked: if shown == "waiting" { blocked(&os, &who).await? } else { Vec::new() },
    }))
}

/// What is asked once more, about several approvals at once.
#[derive(Template)]
#[template(path = "decide.html")]
struct Asked {
    frame: Frame,
    approves: bool,
    rows: Vec<Row>,
}

/// What became of each of them.
#[derive(Template)]
#[template(path = "decided.html")]
struct Decided {
    frame: Frame,
    outcomes: Vec<Outcome>,
}

struct Outcome {
    id: String,
    tool: Option<String>,
    status: Option<&'static str>,
    wrong: Option<String>,
}

/// Asks once more about those that were chosen, with the arguments of each in sight; or decides them, each with the digest
/// that was shown. None hides behind another.
pub(super) async fn decide(State(os): State<Arc<Os>>, who: Who, request: Request) -> Result<Response, Failure> {
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let approves = match fields.word("decision", &["approved", "rejected"]).as_str() {
        "approved" => true,
        // What is neither is refused with the rest of the form.
        _ => false,
    };
    let (note, named) = (fields.text("note"), fields.short("resolved_by", 255));
    let is_sure = fields.flag("sure", false);
    let chosen: Vec<(String, String)> = fields.starting_with("approval.");
    fields.done()?;
    if chosen.is_empty() {
        return Ok(Redirect::to("/panel").into_response());
    }
    if chosen.len() > MANY {
        return Err(
            Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "invalid", "choose fewer at once").into()
        );
    }
    if !is_sure {
        let mut rows = Vec::new();
        for (id, _) in &chosen {
            let found = os.db.get_approval(&ApprovalId::from(id.clone())).await?;
            rows.extend(found.as_ref().map(Row::of).filter(|row| row.is_pending));
        }
        let title = if approves { "Approve?" } else { "Reject?" };
        return Ok(made(&Asked { frame: Frame::new(&os, &who, "/panel", title).await?, approves, rows }));
    }
    let (mut outcomes, gathered) = (Vec::new(), Gathered::default());
    for (id, digest) in chosen {
        let mut resolution = if approves { Resolution::approved() } else { Resolution::rejected() };
        resolution = who.decides(resolution.digest(digest), named.clone());
        if let Some(note) = &note {
            resolution = resolution.note(note);
        }
        resolution = resolution.gathered(&gathered);
        let decided = os.db.update_approval(&ApprovalId::from(id.clone()), ApprovalStatus::Pending, resolution).await;
        outcomes.push(match decided {
            Ok(approval) => Outcome {
                id,
                tool: approval.tool_name.as_deref().map(safe),
                status: Some(approval.status.as_str()),
                wrong: None,
            },
            Err(error) => {
                let wrong = Some(safe(&Problem::from(error).text()));
                Outcome { id, tool: None, status: None, wrong }
            }
        });
    }
    if !gathered.is_empty() {
        os.db.record_gathered(gathered).await?;
    }
    Ok(made(&Decided { frame: Frame::new(&os, &who, "/panel", "Decided").await?, outcomes }))
}
