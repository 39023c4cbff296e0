//! The tools that the tests of whole paths give to their agents. Each writes into the ledger that it was entered.

use kern::prelude::*;

use crate::gates::gate;
use crate::ledger::enter;

/// Look up a key. Nobody is asked.
#[tool]
pub async fn lookup(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("lookup {key}"));
    format!("value of {key}")
}

/// Delete a user. An administrator decides.
#[approval]
#[tool]
pub async fn delete_user(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("delete {user_id}"));
    format!("deleted {user_id}")
}

/// Delete a user. An administrator decides, and the user confirms.
#[approval]
#[tool(requires_confirmation)]
pub async fn erase_user(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("erase {user_id}"));
    format!("erased {user_id}")
}

/// Restart a service. The user confirms.
#[tool(requires_confirmation)]
pub async fn restart(service: String, ctx: &RunContext) -> String {
    enter(ctx, format!("restart {service}"));
    format!("restarted {service}")
}

/// Export data. Nobody is asked, a record is kept.
#[approval(type = "audit")]
#[tool]
pub async fn export(customer: String, ctx: &RunContext) -> String {
    enter(ctx, format!("export {customer}"));
    format!("exported {customer}")
}

/// Export data. The user confirms, a record is kept.
#[approval(type = "audit")]
#[tool(requires_confirmation)]
pub async fn export_asked(customer: String, ctx: &RunContext) -> String {
    enter(ctx, format!("export_asked {customer}"));
    format!("exported {customer}")
}

/// Send mail. The user fills in to whom.
#[tool(user_input_fields("to"))]
pub async fn mail(subject: String, to: String, copies: Option<u8>, ctx: &RunContext) -> String {
    enter(ctx, format!("mail {subject} to {to}"));
    format!("sent {subject} to {to}, {} copies", copies.unwrap_or(1))
}

/// Send mail. The user fills in to whom, an administrator decides.
#[approval]
#[tool(user_input_fields("to", "copies"))]
pub async fn mail_all(subject: String, to: String, copies: u8, ctx: &RunContext) -> String {
    enter(ctx, format!("mail_all {subject} to {to} x{copies}"));
    format!("sent {subject} to {to}, {copies} copies")
}

/// Run a command. Another system does.
#[tool(external_execution)]
pub async fn run_outside(command: String, ctx: &RunContext) -> String {
    enter(ctx, format!("run_outside {command}"));
    command
}

/// Run a command. Another system does, after an administrator decided.
#[approval]
#[tool(external_execution)]
pub async fn run_outside_approved(command: String, ctx: &RunContext) -> String {
    enter(ctx, format!("run_outside_approved {command}"));
    command
}

/// Refund. Large ones need an administrator.
#[approval(when = *cents > 100)]
#[tool]
pub async fn refund(cents: u64, ctx: &RunContext) -> String {
    enter(ctx, format!("refund {cents}"));
    format!("refunded {cents}")
}

/// Refund. Large ones need an administrator, and the user may correct the sum.
#[approval(when = *cents > 100)]
#[tool(requires_user_input)]
pub async fn refund_form(cents: u64, ctx: &RunContext) -> String {
    enter(ctx, format!("refund_form {cents}"));
    format!("refunded {cents}")
}

fn breaks(key: &str) -> bool {
    assert!(key != "boom", "the condition panics");
    false
}

/// Touch something. The condition panics on `boom`.
#[approval(when = breaks(key))]
#[tool]
pub async fn touch(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("touch {key}"));
    format!("touched {key}")
}

/// Fail, after an administrator decided.
#[approval]
#[tool]
pub async fn fail(why: String, ctx: &RunContext) -> Result<String, String> {
    enter(ctx, format!("fail {why}"));
    Err(why)
}

/// Panic, after an administrator decided.
#[approval]
#[tool]
pub async fn explode(why: String, ctx: &RunContext) -> String {
    enter(ctx, format!("explode {why}"));
    panic!("{why}")
}

/// Panic. Nobody is asked.
#[tool]
pub async fn explode_plain(why: String, ctx: &RunContext) -> String {
    enter(ctx, format!("explode_plain {why}"));
    panic!("{why}")
}

/// Wait at the session's gate, after an administrator decided.
#[approval]
#[tool]
pub async fn wait(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("wait {key}"));
    gate(ctx.session_id.as_str()).pass().await;
    format!("waited {key}")
}

/// Wait at the session's gate. Nobody is asked.
#[tool]
pub async fn wait_plain(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("wait_plain {key}"));
    gate(ctx.session_id.as_str()).pass().await;
    format!("waited {key}")
}

/// Wait at the session's gate. Nobody is asked, a record is kept.
#[approval(type = "audit")]
#[tool]
pub async fn wait_recorded(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("wait_recorded {key}"));
    gate(ctx.session_id.as_str()).pass().await;
    format!("waited {key}")
}
