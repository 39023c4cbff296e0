//! The agent of the fault suite, the same in every process: tools of every tier, and scripts that are chosen by the run's
//! input, so that whoever finds a run can go on with it.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kern::db::Db;
use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, turn};
use kern::prelude::*;
use kern::run::Role;
use kern_db::fault;

use crate::ledger::enter;

/// What a tool panics with that is made to.
pub const MADE_TO: &str = "as it is made to";
/// The agent's id.
pub const AGENT: &str = "faults";

/// Says a line to the test.
///
/// # Panics
///
/// When nobody reads.
pub fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the test reads");
}

/// The effect of a body: one line in the ledger, which names the call. A process may be stopped before and after it.
fn effect(tool: &str, ctx: &RunContext) -> String {
    // What a test may ask of these two places is to stop: they fail nothing.
    let _ = fault::point("body", "before its effect");
    enter(ctx, line(tool, ctx.run_id.as_str(), &ctx.tool_call_id));
    let _ = fault::point("body", "after its effect");
    "done".to_owned()
}

/// The line that a call leaves in the ledger.
#[must_use]
pub fn line(tool: &str, run_id: &str, tool_call_id: &str) -> String {
    format!("{tool} {run_id} {tool_call_id}")
}

/// Look something up. Nobody is asked.
#[tool]
pub async fn lookup(ctx: &RunContext) -> String {
    effect("lookup", ctx)
}

/// Delete something. An administrator decides.
#[approval]
#[tool]
pub async fn delete(ctx: &RunContext) -> String {
    effect("delete", ctx)
}

/// Erase something. An administrator decides, and the user confirms.
#[approval]
#[tool(requires_confirmation)]
pub async fn erase(ctx: &RunContext) -> String {
    effect("erase", ctx)
}

/// Restart something. The user confirms.
#[tool(requires_confirmation)]
pub async fn restart(ctx: &RunContext) -> String {
    effect("restart", ctx)
}

/// Export something. Nobody is asked, a record is kept.
#[approval(type = "audit")]
#[tool]
pub async fn export(ctx: &RunContext) -> String {
    effect("export", ctx)
}

/// Do something, and panic after it. An administrator decides.
#[approval]
#[tool]
pub async fn explode(ctx: &RunContext) -> String {
    effect("explode", ctx);
    std::panic::panic_any(MADE_TO)
}

/// The script of this name.
///
/// # Panics
///
/// When there is none.
pub fn script(name: &str) -> ScriptedModel {
    let none = || json!({});
    let one = |tool: &str| turn().tool_call(tool, none());
    let done = turn().text("done");
    ScriptedModel::new(match name {
        "delete" | "erase" | "restart" | "export" | "explode" => vec![one(name), done],
        "two" => vec![one("delete").tool_call("delete", none()), done],
        "again" => vec![one("delete"), one("delete"), done],
        "looks first" => vec![one("lookup").tool_call("delete", none()), done],
        "five" => vec![one("export"), one("export"), one("export"), one("export"), one("export"), done],
        "all" => {
            let many = one("lookup").tool_call("export", none()).tool_call("delete", none());
            vec![many.tool_call("erase", none()), one("explode"), done]
        }
        "mixed" => {
            let many = one("lookup").tool_call("export", none()).tool_call("delete", none());
            vec![many.tool_call("erase", none()).tool_call("restart", none()), one("delete"), done]
        }
        other => panic!("no script `{other}`"),
    })
}

/// Plays the script that the run's input names.
#[derive(Debug)]
struct Scripts;

impl Model for Scripts {
    fn id(&self) -> &str {
        "scripts"
    }

    fn provider(&self) -> &str {
        "kern"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        let input = request.messages.iter().find(|message| message.role == Role::User && !message.from_history);
        let name = input.and_then(|message| message.content.clone()).expect("a run has an input");
        Box::pin(async move { script(&name).respond(request).await })
    }
}

/// What the hook of [`hooked`] takes out of an input.
pub const SECRET: &str = "tell-nobody-4711";

/// Takes the secret out of the input, and leaves a line in the ledger.
async fn redact(input: &mut RunInput, _: &HookContext) -> HookResult {
    crate::ledger::note("hook");
    input.input_content = input.input_content.replace(SECRET, "").trim().to_owned();
    Ok(())
}

/// The agent, with a hook that looks at what it is asked.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn hooked(db: Arc<dyn Db>, lease: Duration) -> Agent {
    let tools = tools![lookup, delete, erase, restart, export, explode];
    let agent = Agent::builder().id(AGENT).model(Scripts).tools(tools).pre_hook(redact).lease(lease).db(db);
    agent.build().expect("the agent is right")
}

/// The agent, on a store.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn agent(db: Arc<dyn Db>, lease: Duration) -> Agent {
    let tools = tools![lookup, delete, erase, restart, export, explode];
    let agent = Agent::builder().id(AGENT).model(Scripts).tools(tools).lease(lease).db(db);
    agent.build().expect("the agent is right")
}
