//! Talking to an agent. The page is a form; the script sends it, and shows what comes.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Failure, Frame, page as made, safe};
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::Who;
use crate::os::fields::Fields;

/// The arguments that displays leave out, by agent and tool, as JSON for the script.
fn secrets(os: &Os) -> String {
    let of = |agent: &crate::agent::Agent| -> Value {
        agent
            .0
            .tools
            .all()
            .iter()
            .map(|tool| (tool.descriptor().name.clone(), json!(tool.descriptor().sensitive)))
            .collect()
    };
    os.agents.iter().map(|agent| (agent.id().to_owned(), of(agent))).collect::<Value>().to_string()
}

struct Choice {
    id: String,
    name: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "chat.html")]
struct Page {
    frame: Frame,
    agents: Vec<Choice>,
    session: String,
    secrets: String,
}

pub(super) async fn page(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let mut fields = Fields::of_query(query.as_deref());
    let (asked, session) = (fields.text("agent"), fields.text("session").unwrap_or_default());
    fields.done()?;
    let may = |id: &str| who.may(&Scope::run_agent(id));
    let agents: Vec<Choice> = os
        .agents
        .iter()
        .filter(|agent| may(agent.id()))
        .map(|agent| Choice {
            id: agent.id().to_owned(),
            name: safe(agent.0.name.as_deref().unwrap_or(agent.id())),
            is_chosen: asked.as_deref() == Some(agent.id()),
        })
        .collect();
    Ok(made(&Page {
        frame: Frame::new(&os, &who, "/panel/chat", "Chat").await?,
        agents,
        session,
        secrets: secrets(&os),
    }))
}
