//! How a person is shown one call: what it is, every argument in full, who asked, who decided.

use kern::db::{Approval, ApprovalStatus, Call, Execution, ExecutionStatus, Run, Standing, Tier};
use kern::display::{self, Argument, Warning};
use serde_json::{Map, Value};

use crate::output::Ink;
use crate::words::{moment, span};

/// Warnings that are said one by one.
const WARNINGS: usize = 20;
/// Length from which on a text's is said.
const LONG: usize = 24;
/// Width of the names of facts.
const NAMES: usize = 12;

/// A call with everything that a person decides by.
pub(crate) struct ShownCall<'a> {
    pub(crate) approval: &'a Approval,
    pub(crate) run: &'a Run,
    pub(crate) now: i64,
    pub(crate) ink: Ink,
}

impl ShownCall<'_> {
    /// Everything, in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut facts = Facts { ink: self.ink, lines: vec![self.title()] };
        let approval = self.approval;
        facts.add("tool", self.tool());
        self.arguments(&mut facts);
        facts.say("asked by", &self.requester());
        facts.say("agent", &self.agent());
        self.around(&mut facts);
        facts.add("run", format!("{}, {}", safe(self.run.run_id.as_str()), self.run.status.as_str().to_lowercase()));
        facts.add("digest", safe(&approval.digest));
        if approval.version > 0 {
            facts.add("edited", self.ink.warning(&format!("{}, since it was asked for", times(approval.version))));
        }
        if let Some(editor) = &approval.edited_by {
            facts.say("edited by", &name(&editor.subject, editor.verified));
        }
        facts.add("asked", moment(approval.created_at, self.now));
        if let Some(expires_at) = approval.expires_at {
            let word = if approval.status == ApprovalStatus::Pending { "expires" } else { "to be decided" };
            facts.add(word, moment(expires_at, self.now));
        }
        if let (Some(call), Some(execution)) = (self.call(), &approval.execution)
            && let Some(valid_for) = call.policy.valid_for_ms
            && execution.status == ExecutionStatus::Ready
        {
            let until = execution.created_at_ms.saturating_add(valid_for) / 1000;
            facts.add("use until", moment(until, self.now));
        }
        self.waiting(&mut facts);
        self.decided(&mut facts);
        if let Some(execution) = &approval.execution {
            outcome(&mut facts, execution);
        }
        facts.lines
    }

    fn title(&self) -> String {
        let approval = self.approval;
        let status = match approval.status {
            ApprovalStatus::Pending => {
                format!("{} for {}", self.ink.warning("pending"), span(self.now - approval.created_at))
            }
            ApprovalStatus::Approved => self.ink.good("approved"),
            status => self.ink.bad(status.as_str()),
        };
        format!("{} {}  {status}", self.ink.bold("Approval"), self.ink.bold(&safe(approval.id.as_str())))
    }

    fn tool(&self) -> String {
        let name = self.ink.bold(&safe(self.approval.tool_name.as_deref().unwrap_or("(none)")));
        match self.call() {
            Some(call) => format!("{name} (version {})", safe(&call.tool_version)),
            None => name,
        }
    }

    /// The run's own row of the call.
    fn call(&self) -> Option<&Call> {
        let mine = |call: &&Call| call.approval.as_ref().is_some_and(|approval| approval.id == self.approval.id);
        self.run.calls.iter().find(mine)
    }

    fn arguments(&self, facts: &mut Facts) {
        match &self.approval.tool_args {
            Some(arguments) if !arguments.is_empty() => {
                facts.add("arguments", "");
                facts.lines.extend(arguments_lines(arguments, &sensitive(self.approval), self.ink));
            }
            _ => facts.add("arguments", "none"),
        }
    }

    fn requester(&self) -> String {
        match &self.run.requester {
            Some(requester) => {
                let mut text = name(&requester.subject, requester.verified);
                for link in &requester.on_behalf_of {
                    text.push_str(", with ");
                    text.push_str(&safe(&link.subject));
                }
                text
            }
            None => "somebody without a name".to_owned(),
        }
    }

    fn agent(&self) -> String {
        let id = self.approval.agent_id.as_deref().unwrap_or("(none)");
        match self.approval.source_name.as_deref() {
            Some(name) if name != id => format!("{} ({})", safe(name), safe(id)),
            _ => safe(id),
        }
    }

    /// What to look at closely besides the arguments.
    fn around(&self, facts: &mut Facts) {
        let approval = self.approval;
        let texts = [
            ("tool", approval.tool_name.as_deref()),
            ("asked by", self.run.requester.as_ref().map(|requester| requester.subject.as_str())),
            ("edited by", approval.edited_by.as_ref().map(|editor| editor.subject.as_str())),
            ("agent", approval.source_name.as_deref()),
            ("agent", approval.agent_id.as_deref()),
        ];
        let warnings = texts.into_iter().flat_map(|(name, text)| {
            let warnings = display::text(text.unwrap_or_default()).warnings;
            warnings.into_iter().map(move |warning| format!("{name}: {warning}"))
        });
        let mut warnings: Vec<String> = warnings.collect();
        warnings.dedup();
        look_closely(&warnings, self.ink, &mut facts.lines);
    }

    /// What is still missing before the call can run.
    fn waiting(&self, facts: &mut Facts) {
        let approval = self.approval;
        if let Some(pool) = &approval.pool {
            facts.say("who decides", &format!("somebody of the pool `{}`", safe(pool)));
        }
        if approval.quorum > 1 || approval.votes.len() > 1 {
            let current = approval.votes.iter().filter(|vote| vote.version == approval.version);
            let names: Vec<_> = current
                .map(|vote| match &vote.voter {
                    Some(voter) => name(voter, vote.verified),
                    None => "somebody without a name".to_owned(),
                })
                .collect();
            let by = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
            let void = match approval.votes.len() - names.len() {
                0 => String::new(),
                1 => ", and 1 to an older version, which does not count".to_owned(),
                count => format!(", and {count} to older versions, which do not count"),
            };
            facts.say("votes", &format!("{} of {}{by}{void}", names.len(), approval.quorum));
        }
        let Some(call) = self.call() else { return };
        let pending = approval.status == ApprovalStatus::Pending;
        if pending && !call.unfilled.is_empty() {
            let fields: Vec<_> = call.unfilled.iter().map(|field| safe(field)).collect();
            facts.say("to be filled", &format!("{}, before it can be approved", fields.join(", ")));
        }
        if call.policy.tier == Tier::TwoStage && (pending || call.standing == Standing::AwaitsRequester) {
            let said = if call.answer_is_current { "has confirmed it" } else { "has to confirm it, too" };
            facts.add("besides", format!("the person who asked {said}"));
        }
    }

    fn decided(&self, facts: &mut Facts) {
        let approval = self.approval;
        if approval.status == ApprovalStatus::Pending {
            return;
        }
        let by = match &approval.resolved_by {
            Some(by) => format!(" by {}", name(by, approval.resolved_by_verified)),
            None => String::new(),
        };
        let at = approval.resolved_at.map(|at| format!(", {}", moment(at, self.now))).unwrap_or_default();
        facts.say("decided", &format!("{}{by}{at}", approval.status));
        for (field, value) in approval.resolution_data.iter().filter_map(Value::as_object).flatten() {
            // What holds arguments holds the sensitive ones, too.
            let hides = !sensitive(approval).is_empty() && field != "note";
            match value {
                Value::String(text) if field == "note" => facts.add_text("note", text),
                // Its name is the approver's, too, and must not pass for one of these facts.
                value => {
                    let name = display::value(&Value::from(field.as_str()));
                    let shown = if hides {
                        safe("(holds sensitive values, not shown)")
                    } else {
                        display::value(value).to_string()
                    };
                    facts.say("sent along", &format!("{name}: {shown}"));
                }
            }
        }
    }
}

fn outcome(facts: &mut Facts, execution: &Execution) {
    let ink = facts.ink;
    let status = match execution.status {
        ExecutionStatus::Succeeded => ink.good("succeeded"),
        ExecutionStatus::Failed => ink.bad("failed"),
        ExecutionStatus::Unknown => ink.warning("unknown: it was started, and nobody knows how it ended"),
        ExecutionStatus::Ready if execution.attempt > 0 => {
            format!("ready, to be started again: it was lost {}", times(execution.attempt))
        }
        ExecutionStatus::Ready => "ready, not started yet".to_owned(),
        status => status.to_string(),
    };
    facts.add("execution", status);
    for (what, text) in [("result", &execution.result), ("error", &execution.error), ("why", &execution.note)] {
        if let Some(text) = text {
            facts.add_text(what, text);
        }
    }
    if let (Some(status), Some(result)) = (execution.late_status, &execution.late_result) {
        facts.say("too late", status.as_str());
        facts.add_text("reported", result);
    }
    if let Some(by) = &execution.settled_by {
        facts.say("settled by", &safe(by));
    }
}

/// Facts about one thing, each on its line.
struct Facts {
    ink: Ink,
    lines: Vec<String>,
}

impl Facts {
    /// Adds what kern says: short, perhaps in colours.
    fn add(&mut self, name: &str, text: impl AsRef<str>) {
        let line = format!("  {} {}", self.ink.dim(&format!("{name:<NAMES$}")), text.as_ref());
        self.lines.push(line.trim_end().to_owned());
    }

    /// Adds what holds somebody else's words, safe to show.
    fn say(&mut self, name: &str, text: &str) {
        self.say_lines(name, &[text.to_owned()]);
    }

    /// Adds a text of somebody else's, in as many lines as it has.
    fn add_text(&mut self, name: &str, text: &str) {
        self.say_lines(name, &display::value(&Value::from(text)).lines);
    }

    fn say_lines(&mut self, name: &str, lines: &[String]) {
        let mut folded = lines.iter().flat_map(|line| self.ink.fold(line, NAMES + 5)).collect::<Vec<_>>().into_iter();
        self.add(name, folded.next().unwrap_or_default());
        let indent = " ".repeat(NAMES + 3);
        let mark = self.ink.dim("│");
        self.lines.extend(folded.map(|line| format!("{indent}{mark} {line}")));
    }
}

/// Every argument in full, then what to look at closely.
pub(crate) fn arguments_lines(arguments: &Map<String, Value>, sensitive: &[String], ink: Ink) -> Vec<String> {
    let shown = display::arguments(arguments, sensitive);
    let width = shown.iter().map(|argument| argument.name.one_line().chars().count()).max().unwrap_or(0).min(24);
    let mut lines = Vec::new();
    for argument in &shown {
        argument_lines(argument, width, ink, &mut lines);
    }
    let warnings: Vec<String> = shown.iter().flat_map(warnings).collect();
    look_closely(&warnings, ink, &mut lines);
    lines
}

fn look_closely(warnings: &[String], ink: Ink, lines: &mut Vec<String>) {
    for warning in warnings.iter().take(WARNINGS) {
        // A place in a value is made of names that somebody else chose.
        let mut folded = ink.fold(warning, 8).into_iter();
        lines.push(format!("    {}", ink.warning(&format!("! {}", folded.next().unwrap_or_default()))));
        lines.extend(folded.map(|part| format!("      {} {part}", ink.dim("│"))));
    }
    if warnings.len() > WARNINGS {
        let more = format!("! and {} more of this kind", warnings.len() - WARNINGS);
        lines.push(format!("    {}", ink.warning(&more)));
    }
    if !warnings.is_empty() {
        let what = "such characters are written as \\n, \\t or as their number, \\u…: look closely";
        lines.push(format!("      {}", ink.dim(what)));
    }
}

fn argument_lines(argument: &Argument, width: usize, ink: Ink, lines: &mut Vec<String>) {
    let folded = argument.value.lines.iter().flat_map(|line| ink.fold(line, width + 8)).collect::<Vec<_>>();
    let mut values = folded.into_iter();
    let first = values.next().unwrap_or_default();
    let long = match argument.value.size {
        Some(display::Size::Characters(count)) => count >= LONG || !argument.value.warnings.is_empty(),
        size => size.is_some(),
    };
    let name = ink.bold(&format!("{:<width$}", argument.name.one_line()));
    lines.push(format!("    {name}  {first}"));
    // Marked, so that no line of a value passes for an argument.
    let (indent, mark) = (" ".repeat(width + 6), ink.dim("│"));
    lines.extend(values.map(|value| format!("{indent}{mark} {value}")));
    if let (Some(size), true) = (argument.value.size, long) {
        lines.push(format!("{indent}{}", ink.dim(&format!("({size})"))));
    }
}

fn warnings(argument: &Argument) -> Vec<String> {
    let name = argument.name.one_line();
    let of_name = argument.name.warnings.iter().map(|warning| format!("the name {name}: {warning}"));
    let of_value = argument.value.warnings.iter().map(|warning: &Warning| {
        let separator = if warning.place.is_empty() { ": " } else { "" };
        format!("{name}{separator}{warning}")
    });
    of_name.chain(of_value).collect()
}

/// Names of the arguments that no display shows. A list that cannot be read hides them all.
pub(crate) fn sensitive(approval: &Approval) -> Vec<String> {
    // By its name in JSON: rows of builds that know no such list have none.
    let list = serde_json::to_value(approval).ok().and_then(|approval| approval.get("sensitive").cloned());
    match list {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => serde_json::from_value(list)
            .unwrap_or_else(|_| approval.tool_args.iter().flatten().map(|(name, _)| name.clone()).collect()),
    }
}

/// A person's name, and what it is worth.
pub(crate) fn name(name: &str, verified: bool) -> String {
    let shown = safe(name);
    if verified { shown } else { format!("{shown} (unverified)") }
}

/// A text of somebody else's, safe to show on one line.
pub(crate) fn safe(text: &str) -> String {
    display::text(text).to_string()
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
