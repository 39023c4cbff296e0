//! What `cargo run` starts: a server with an agent to talk to, and a request that waits in the inbox.

use std::path::Path;

use kern::db::Db as _;
use kern::models::OpenAIChat;
use kern::os::AgentOS;

use crate::page::{Ink, Page};
use crate::story::{self, told};

/// The variable with the key of a real model.
const KEY: &str = "OPENAI_API_KEY";
/// The model that is asked where there is one.
const MODEL: &str = "gpt-4o-mini";

/// Serves until it is told to end.
pub(crate) async fn serve(page: &mut Page, path: &Path, port: u16) -> Result<(), String> {
    let db = story::open(page, path).await?;
    let real = std::env::var_os(KEY).is_some();
    let agent = if real { story::agent_with(&db, OpenAIChat::new(MODEL)) } else { story::agent(&db) };
    let agent = agent.map_err(|error| told(&error))?;
    let model =
        if real { format!("{MODEL}, with the key of {KEY}") } else { format!("scripted (set {KEY} for a real one)") };
    page.label("model", model);
    let server =
        AgentOS::builder().id("kern").name("kern").agent(agent.clone()).build().map_err(|error| told(&error))?;
    let server = server
        .start(&format!("127.0.0.1:{port}"))
        .await
        .map_err(|error| format!("{}\nname another port with `--port PORT`", told(&error)))?;
    // Something to decide, for whoever has never seen an inbox. The scripted model always asks for the same.
    if !real && db.count_pending_approvals().await.map_err(|error| told(&error))? == 0 {
        agent.run(story::REQUEST).user_id(story::REQUESTER).session_id("demo").await.map_err(|error| told(&error))?;
    }
    let waiting = db.count_pending_approvals().await.map_err(|error| told(&error))?;
    page.label("waiting", format!("{waiting} in the inbox"));
    page.line(format!("\n{}", page.ink(Ink::Bold, &format!("http://{}/panel", server.address()))));
    page.line("Open it, decide as somebody other than alice, and see the run go on. Ctrl-C ends it.");
    if tokio::signal::ctrl_c().await.is_err() {
        return Err("Ctrl-C cannot be listened for".to_owned());
    }
    page.line("\nending: what runs is waited for");
    server.shutdown().await;
    Ok(())
}
