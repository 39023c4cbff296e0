//! A tool writes into the application's own tables, in the transaction that records its outcome: exactly once.
#![allow(clippy::print_stdout)]

use std::error::Error;

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::tools::ToolError;

/// Take articles out of the stock for an order.
#[approval]
#[tool(effect = "transactional")]
async fn reserve(
    /// The article, for example `chair`.
    article: String,
    pieces: u32,
    ctx: &RunContext,
) -> Result<String, ToolError> {
    // Nothing is written here. Both statements are committed when the call is recorded as succeeded, or neither.
    ctx.transaction().execute("UPDATE stock SET pieces = pieces - ? WHERE article = ?", (pieces, &article))?;
    ctx.transaction()
        .execute("INSERT INTO reservations VALUES (?, ?, ?)", (ctx.idempotency_key(), &article, pieces))?;
    // A start that is lost before its end has left nothing, and is made again.
    assert!(ctx.attempt() > 1, "the first start of each call panics in this example");
    Ok(format!("{pieces} of {article} are reserved."))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("kern-transactional-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("app.db");
    let db = SqliteDb::open(&path).await?;
    // The application's own tables, in the file that kern uses, too.
    let own = rusqlite::Connection::open(&path)?;
    own.execute_batch(
        "CREATE TABLE stock (article TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0));
         CREATE TABLE reservations (key TEXT PRIMARY KEY, article TEXT NOT NULL, pieces INTEGER NOT NULL);
         INSERT INTO stock VALUES ('chair', 10);",
    )?;
    let count = |sql: &str| own.query_row(sql, (), |row| row.get::<_, i64>(0));

    for (pieces, succeeds) in [(4, true), (9, false)] {
        let model = ScriptedModel::new([
            turn().tool_call("reserve", json!({ "article": "chair", "pieces": pieces })),
            turn().text("That is what came of it."),
        ]);
        let agent = Agent::builder().id("stock").model(model).tools(tools![reserve]).db(db.clone()).build()?;
        let run = agent.run("Reserve chairs").user_id("alice").await?;
        let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
        let approval = &db.list_approvals(waiting).await?.data[0];
        db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
        let run = agent.continue_run(&run.run_id).await?;
        let call = run.tool_calls()[0].clone();
        println!("{pieces} chairs: {}", call.result.as_deref().unwrap_or("-"));
        assert_eq!(call.tool_call_error, Some(!succeeds));
    }

    // The second call failed with what the database said, and left nothing: neither the stock nor the reservation.
    assert_eq!(count("SELECT pieces FROM stock")?, 6);
    assert_eq!(count("SELECT count(*) FROM reservations")?, 1);
    println!("6 chairs are left, 1 reservation");
    assert!(db.audit().verify().await?.is_intact());

    drop((own, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
