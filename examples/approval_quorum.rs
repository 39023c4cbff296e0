//! Two people of a pool have to approve, within a day, and each says why.
#![allow(clippy::print_stdout)]

use std::error::Error;

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Wire money to another bank.
#[approval(pool = "finance", quorum = 2, expires_in = "24h", valid_for = "1h", require_reason)]
#[tool]
async fn wire(
    /// The account that gets it.
    iban: String,
    euros: u32,
) -> String {
    format!("{euros} euros have been sent to {iban}.")
}

fn agent(db: &SqliteDb) -> kern::Result<Agent> {
    let model = ScriptedModel::new([
        turn().tool_call("wire", json!({ "iban": "DE02 1203 0000 0000 2020 51", "euros": 9000 })),
        turn().text("The money is on its way."),
    ]);
    Agent::builder().id("treasury").model(model).tools(tools![wire]).db(db.clone()).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-quorum-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;

    // A policy that nobody can satisfy is refused before anybody asks for anything.
    let refused = agent(&db).err().ok_or("there is no pool yet")?;
    println!("refused: {refused}");
    assert_eq!(refused.code(), "policy_unsatisfiable");
    // In the store, so that every process and every channel sees the same. Or: `kern pools set finance ann bob alice`.
    db.set_pool("finance", ["ann", "bob", "alice"]).await?;

    let agent = agent(&db)?;
    let run = agent.run("Wire 9000 euros to our supplier").user_id("alice").await?;
    let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
    let approval = db.list_approvals(waiting).await?.data.remove(0);
    println!("{} waits for {} of pool {}", approval.id, approval.quorum, approval.pool.as_deref().unwrap_or("-"));

    let yes = |name: &str| Resolution::approved().by(name).note("checked the invoice");
    for (resolution, expected) in [
        (yes("mallory"), Err("not_permitted")),                     // not in the pool
        (yes("alice"), Err("not_permitted")),                       // she asked
        (Resolution::approved().by("ann"), Err("reason_required")), // without a word
        (yes("ann"), Ok(ApprovalStatus::Pending)),                  // the first of two
        (yes("ann"), Err("not_permitted")),                         // she has voted
        (yes("bob"), Ok(ApprovalStatus::Approved)),                 // the second
    ] {
        let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, resolution).await;
        match &decided {
            Ok(approval) => println!("{} of {} votes: {}", approval.votes.len(), approval.quorum, approval.status),
            Err(error) => println!("no: {error}"),
        }
        assert_eq!(decided.as_ref().map(|approval| approval.status).map_err(|error| error.code()), expected);
    }

    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    println!("{}", run.content());
    assert_eq!(run.status, RunStatus::Completed);
    assert!(db.audit().verify().await?.is_intact());

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
