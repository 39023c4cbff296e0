//! Talking to an agent. The page is a form; the script sends it, and shows what comes.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::{Failure, Frame, page as made, safe};
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::Who;
use crate::os::fields::Fields;

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
    Ok(made(&Page { frame: Frame::new(&os, &who, "/panel/chat", "Chat"), agents, session }))
}
