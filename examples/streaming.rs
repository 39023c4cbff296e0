//! A chat shows what its agent does while it does it: the text as it comes, each tool call, and the question that the run
//! pauses with.
//!
//! `cargo run --example streaming`
#![allow(clippy::print_stdout)]

use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::run::{RunId, RunStream};

/// Look up an order.
#[tool]
async fn find_order(
    /// Number of the order.
    order: u32,
) -> String {
    format!("order {order}: two lamps, paid, not shipped")
}

/// Cancel an order.
#[tool(requires_confirmation)]
async fn cancel_order(
    /// Number of the order.
    order: u32,
) -> String {
    format!("order {order} has been cancelled")
}

/// What is left when a stream has ended.
#[derive(Default)]
struct Watched {
    said: String,
    paused: Option<(RunId, Vec<RunRequirement>)>,
}

/// Shows a run to its end, or to its pause. Whoever stops reading loses no run: it goes on by itself.
async fn watch(mut events: RunStream) -> kern::Result<Watched> {
    let mut watched = Watched::default();
    while let Some(event) = events.next().await {
        let event = event?;
        let run_id = event.base().run_id.clone();
        match event {
            RunEvent::RunContent { content, .. } => {
                // Word by word, as the model says it.
                print!("{content}");
                watched.said.push_str(&content);
            }
            RunEvent::ModelRequestCompleted { .. } => println!(),
            RunEvent::ToolCallStarted { tool, .. } => println!("tool:  {} …", tool.name()),
            RunEvent::ToolCallCompleted { tool, .. } => {
                println!("tool:  {}", tool.result.as_deref().unwrap_or("-"));
            }
            RunEvent::RunPaused { content, requirements, .. } => {
                println!("pause: {content}");
                watched.paused = Some((run_id, requirements));
            }
            // There are more, and later versions may have others.
            _ => {}
        }
    }
    Ok(watched)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::new([
        turn().text("Let me see. ").tool_call("find_order", json!({ "order": 7 })),
        turn().text("It is not shipped yet. ").tool_call("cancel_order", json!({ "order": 7 })),
        turn().text("Done: order 7 is cancelled."),
    ]);
    let agent = Agent::builder().id("shop").model(model).tools(tools![find_order, cancel_order]).build()?;

    let asked = watch(agent.run("Cancel order 7").user_id("alice").stream()).await?;
    let Some((run_id, mut requirements)) = asked.paused else { panic!("the run pauses before it cancels anything") };
    for requirement in &mut requirements {
        println!("alice: yes, {} {}", requirement.tool_name(), requirement.tool_args());
        requirement.confirm()?;
    }

    // The continuation has a stream of its own.
    let done = watch(agent.continue_run(&run_id).requirements(requirements).user_id("alice").stream()).await?;
    assert!(done.paused.is_none());
    assert_eq!(asked.said, "Let me see. It is not shipped yet. ");
    assert_eq!(done.said, "Done: order 7 is cancelled.");
    assert_eq!(agent.get_run(&run_id).await?.status, RunStatus::Completed);
    Ok(())
}
