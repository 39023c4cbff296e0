//! `kern approvals list` and `show`.

use kern::db::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, Db, Error, Page, Run};
use kern::display;
use serde_json::Value;

use crate::arguments::ListApprovals;
use crate::call::{ShownCall, name, safe, sensitive};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Ink, Output};
use crate::words::{cell, now, span, table};

/// Characters of the arguments that a list shows.
const ARGUMENTS: usize = 60;

pub(crate) async fn list(output: &mut Output, db: &dyn Db, list: ListApprovals, json: bool) -> Outcome {
    let mut filter = ApprovalFilter::new().limit(list.limit).page(list.page);
    if list.status != "any" {
        let status: ApprovalStatus =
            list.status.parse().map_err(|error| Failure::could_not("usage", format!("{error}")))?;
        filter = filter.status(status);
    }
    if let Some(run) = &list.run {
        filter = filter.run_id(run);
    }
    if let Some(user) = &list.user {
        filter = filter.user_id(user);
    }
    let page = db.list_approvals(filter).await?;
    if json {
        output.json(&page)?;
        return Ok(Answer::Done);
    }
    if page.data.is_empty() {
        output.line(nothing(&list, &page))?;
        return Ok(Answer::Done);
    }
    // A state that was asked for is not said again in each row.
    let any = list.status == "any";
    let mut head = vec!["ID", "TOOL", "ARGUMENTS", "ASKED BY", "AGENT", "AGE"];
    if any {
        head.insert(1, "STATUS");
    }
    let now = now();
    let columns = Columns::of(&page.data);
    head.extend(columns.titles());
    let rows =
        page.data.iter().map(|approval| [row(approval, any, now), columns.cells(approval, now)].concat()).collect();
    output.line(table(output.ink(), &head, rows))?;
    output.line("")?;
    output.line(summary(&list, &page))?;
    Ok(Answer::Done)
}

fn row(approval: &Approval, with_status: bool, now: i64) -> Vec<String> {
    let text = |text: &Option<String>| cell(&safe(text.as_deref().unwrap_or("-")), 40);
    let mut row = vec![
        safe(approval.id.as_str()),
        text(&approval.tool_name),
        arguments(approval),
        text(&approval.user_id),
        text(&approval.agent_id),
        span(now - approval.created_at),
    ];
    if with_status {
        row.insert(1, approval.status.to_string());
    }
    row
}

/// What some policies ask for, and others do not: a column where a row on the page has it.
struct Columns {
    pool: bool,
    votes: bool,
    expires: bool,
}

impl Columns {
    fn of(approvals: &[Approval]) -> Self {
        let any = |has: fn(&Approval) -> bool| approvals.iter().any(has);
        Self {
            pool: any(|approval| approval.pool.is_some()),
            votes: any(|approval| approval.quorum > 1),
            expires: any(|approval| approval.expires_at.is_some()),
        }
    }

    fn titles(&self) -> Vec<&'static str> {
        self.asked([("POOL", self.pool), ("VOTES", self.votes), ("EXPIRES", self.expires)])
    }

    fn cells(&self, approval: &Approval, now: i64) -> Vec<String> {
        let pool = approval.pool.as_ref().map_or_else(|| "-".to_owned(), |pool| cell(&safe(pool), 40));
        let votes = approval.votes.iter().filter(|vote| vote.version == approval.version).count();
        let expires = match approval.expires_at {
            Some(at) if approval.status == ApprovalStatus::Pending && at > now => format!("in {}", span(at - now)),
            Some(at) if approval.status == ApprovalStatus::Pending => format!("{} ago", span(now - at)),
            _ => "-".to_owned(),
        };
        let votes = format!("{votes} of {}", approval.quorum);
        self.asked([(pool, self.pool), (votes, self.votes), (expires, self.expires)])
    }

    fn asked<T>(&self, columns: [(T, bool); 3]) -> Vec<T> {
        columns.into_iter().filter_map(|(column, asked)| asked.then_some(column)).collect()
    }
}

/// The arguments on one line, as much as fits.
fn arguments(approval: &Approval) -> String {
    let hidden = sensitive(approval);
    let mut shown = approval.tool_args.clone().unwrap_or_default();
    for name in &hidden {
        if let Some(value) = shown.get_mut(name) {
            *value = Value::from("(sensitive, not shown)");
        }
    }
    cell(display::value(&Value::Object(shown)).one_line(), ARGUMENTS)
}

fn nothing(list: &ListApprovals, page: &Page<Approval>) -> String {
    if page.meta.total_count > 0 {
        return format!("page {} is empty: the last one is --page {}", page.meta.page, page.meta.total_pages);
    }
    let narrowed = list.run.is_some() || list.user.is_some();
    match (list.status.as_str(), narrowed) {
        ("pending", false) => {
            "nothing waits for a decision. `kern approvals list --status any` shows what was decided, \
                               `kern approvals watch` waits for the next one."
                .to_owned()
        }
        ("any", false) => "no call has asked for an approval yet".to_owned(),
        (status, false) => format!("no approval is {status}. `kern approvals list --status any` shows all."),
        (_, true) => "nothing fits: leave out --run or --user, or give --status any".to_owned(),
    }
}

fn summary(list: &ListApprovals, page: &Page<Approval>) -> String {
    let meta = &page.meta;
    let count = if meta.total_count == 1 { "1 approval".to_owned() } else { format!("{} approvals", meta.total_count) };
    let mut said = if meta.total_pages > 1 {
        let next = if u64::from(meta.page) < meta.total_pages {
            format!(", --page {} shows the next", u64::from(meta.page) + 1)
        } else {
            String::new()
        };
        format!("{count}, page {} of {}{next}", meta.page, meta.total_pages)
    } else {
        count
    };
    if list.status == "pending" {
        said.push_str(". `kern approvals show ID` shows one in full.");
    }
    said
}

pub(crate) async fn show(output: &mut Output, db: &dyn Db, id: &str, json: bool) -> Outcome {
    let (approval, run) = find(db, id).await?;
    if json {
        output.json(&approval)?;
    } else {
        write(output, &approval, &run)?;
    }
    Ok(Answer::Done)
}

fn write(output: &mut Output, approval: &Approval, run: &Run) -> Outcome<()> {
    lines(approval, run, output.ink()).iter().try_for_each(|line| output.line(line))
}

/// A call in full, as `show` and the questions show it.
pub(crate) fn lines(approval: &Approval, run: &Run, ink: Ink) -> Vec<String> {
    ShownCall { approval, run, now: now(), ink }.lines()
}

/// The approval of an id, with its run.
pub(crate) async fn find(db: &dyn Db, id: &str) -> Outcome<(Approval, Run)> {
    let id = ApprovalId::from(checked(id)?);
    let Some(approval) = db.get_approval(&id).await? else {
        return Err(Error::NotFound { entity: "approval", id: id.to_string() }.into());
    };
    let run = db.get_run(&approval.run_id).await?;
    Ok((approval, run))
}

/// An id is one word that can be seen. Only whole ids are taken: those of calls that came together begin alike.
pub(crate) fn checked(id: &str) -> Outcome<&str> {
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    if id.is_empty() || id.len() > 200 || !visible {
        let message = format!("`{}` is no id: copy the whole id from the list", cell(&safe(id), 80));
        return Err(Failure::could_not("invalid", message));
    }
    Ok(id)
}

/// One line about an approval.
pub(crate) fn brief(approval: &Approval, now: i64) -> String {
    let tool = cell(&safe(approval.tool_name.as_deref().unwrap_or("(none)")), 64);
    let asked = approval.user_id.as_deref();
    let asked = asked.map_or("somebody without a name".to_owned(), |user| cell(&name(user, false), 60));
    let age = span(now - approval.created_at);
    format!("{}  {tool} {}  asked by {asked} {age} ago", safe(approval.id.as_str()), arguments(approval))
}
