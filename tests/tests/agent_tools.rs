//! How tools are called, and what becomes of their results: side by side, for as long as they may take, and as the last
//! word of a run.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kern::db::{Db as _, ExecutionStatus, Settlement};
use kern::models::{Turn, turn};
use kern::prelude::*;
use kern::tools::ToolOptions;
use kern_tests::custom::Custom;
use kern_tests::store::{Store, code, told};
use tokio::sync::Barrier;

/// A script that calls tools in one turn, and then has a last word.
fn calls(names: &[&str]) -> Vec<Turn> {
    let all = names.iter().fold(turn(), |turn, name| turn.tool_call(*name, json!({})));
    vec![all, turn().text("the model's last word")]
}

/// A tool that gives its own name.
fn plain(name: &'static str) -> Custom {
    Custom::new(name, move || async move { Ok(format!("{name} is done")) })
}

mod side_by_side {
    use super::*;

    #[tokio::test]
    async fn plain_calls_of_one_turn_run_side_by_side_and_answer_in_call_order() {
        let store = Store::new().await;
        // Each waits for the other, and the first ends last.
        let (met, left) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (first_met, first_left) = (Arc::clone(&met), Arc::clone(&left));
        let first = Custom::new("first", move || {
            let (met, left) = (Arc::clone(&first_met), Arc::clone(&first_left));
            async move {
                met.wait().await;
                left.wait().await;
                Ok("one".to_owned())
            }
        });
        let second = Custom::new("second", move || {
            let (met, left) = (Arc::clone(&met), Arc::clone(&left));
            async move {
                met.wait().await;
                // Lets the first go on only when this one is about to be over.
                tokio::spawn(async move { left.wait().await });
                Ok("two".to_owned())
            }
        });
        let agent = store.agent(vec![], calls(&["first", "second"])).tool(first).tool(second).build().unwrap();
        let run = tokio::time::timeout(Duration::from_secs(20), agent.run("go")).await.expect("neither waits in vain");
        assert_eq!(told(&run.unwrap()), ["one", "two"]);
    }

    #[tokio::test]
    async fn a_panic_of_one_plain_call_is_its_own() {
        let store = Store::new().await;
        // All three are in their bodies before any of them goes on.
        let met = Arc::new(Barrier::new(3));
        let tool = |name: &'static str, panics: bool| {
            let met = Arc::clone(&met);
            Custom::new(name, move || {
                let met = Arc::clone(&met);
                async move {
                    met.wait().await;
                    assert!(!panics, "boom");
                    Ok("fine".to_owned())
                }
            })
        };
        let script = calls(&["bad", "good", "bad"]);
        let agent = store.agent(vec![], script).tool(tool("bad", true)).tool(tool("good", false)).build().unwrap();
        let run = agent.run("go").await.unwrap();
        assert_eq!(told(&run), ["the tool panicked", "fine", "the tool panicked"]);
        assert_eq!(run.status, RunStatus::Completed);
    }
}

mod timeout {
    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    fn limited() -> ToolOptions {
        ToolOptions::new().timeout(SHORT)
    }

    /// A tool that never ends.
    fn hangs() -> Custom {
        Custom::new("hangs", || async {
            std::future::pending::<()>().await;
            Ok(String::new())
        })
        .options(limited())
    }

    /// A tool that blocks its thread until this end of a channel is dropped.
    fn blocks() -> (Custom, mpsc::Sender<()>) {
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let tool = Custom::blocking("blocks", move || {
            let wait = wait.lock().expect("one call at a time");
            let _ = wait.recv();
            "released".to_owned()
        });
        (tool.options(limited()), release)
    }

    #[tokio::test]
    async fn a_plain_tool_that_hangs_is_an_error_for_the_model() {
        let store = Store::new().await;
        let (blocking, release) = blocks();
        let script = calls(&["hangs", "blocks", "quick"]);
        let builder = store.agent(vec![], script).tool(hangs()).tool(blocking);
        let agent = builder.tool(plain("quick").options(limited())).build().unwrap();
        let since = Instant::now();
        let run = agent.run("go").await.unwrap();
        assert!(since.elapsed() >= SHORT);
        let late = "the tool did not end within 60ms";
        assert_eq!(told(&run), [late, late, "quick is done"]);
        let errors: Vec<_> = run.tools.iter().map(|tool| tool.tool_call_error).collect();
        assert_eq!(errors, [Some(true), Some(true), Some(false)]);
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "the model's last word"));
        drop(release);
    }

    async fn unknown_until_settled(tool: Custom, name: &str, release: impl FnOnce()) {
        let store = Store::new().await;
        let agent = store.agent(vec![], calls(&[name, "after"])).tool(tool.approved()).tool(plain("after").approved());
        let agent = agent.build().expect("the agent is right");
        let run = agent.run("go").user_id("alice").await.expect("it starts");
        store.approve_all(&run.run_id).await;
        let run = agent.continue_run(&run.run_id).user_id("alice").await.expect("it goes on");
        assert!(run.is_paused() && run.attention);
        assert_eq!(store.states(&run.run_id).await, ["unknown", "ready"], "the next call does not start");
        assert_eq!(code(agent.continue_run(&run.run_id).await), "execution_unknown");
        assert!(agent.resume_decided_runs().await.expect("runs are listed").is_empty());
        // What comes of the body now changes nothing: a cancelled future is not a stopped effect.
        release();
        tokio::time::sleep(SHORT).await;
        assert_eq!(store.states(&run.run_id).await, ["unknown", "ready"]);
        let execution = &store.executions(&run.run_id).await[0];
        let entries = store.db.audit().entries(0, 1000).await.expect("the log is read");
        let unknown: Vec<_> = entries.iter().filter(|entry| entry.action == "unknown").collect();
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].payload.to_string().contains("did not end within 60ms"), "{:?}", unknown[0]);
        assert_eq!(execution.status, ExecutionStatus::Unknown);
        let settled = Settlement::failed("it never came").by("bob").note("looked");
        store.db.settle_execution(&execution.id, settled).await.expect("it is settled");
        let run = agent.continue_run(&run.run_id).user_id("alice").await.expect("it goes on");
        assert_eq!(told(&run).last().map(String::as_str), Some("after is done"));
        assert_eq!(store.states(&run.run_id).await, ["failed", "succeeded"]);
    }

    #[tokio::test]
    async fn a_protected_tool_that_hangs_is_unknown_until_somebody_settles_it() {
        unknown_until_settled(hangs(), "hangs", || {}).await;
    }

    #[tokio::test]
    async fn a_protected_tool_that_blocks_is_unknown_until_somebody_settles_it() {
        let (tool, release) = blocks();
        unknown_until_settled(tool, "blocks", move || drop(release)).await;
    }

    #[tokio::test]
    async fn a_tool_that_ends_in_time_is_as_without_a_limit() {
        let store = Store::new().await;
        let tool = plain("quick").options(ToolOptions::new().timeout(Duration::from_secs(30)));
        let agent = store.agent(vec![], calls(&["quick"])).tool(tool).build().unwrap();
        assert_eq!(told(&agent.run("go").await.unwrap()), ["quick is done"]);
    }
}

mod results {
    use super::*;

    fn stops() -> ToolOptions {
        ToolOptions::new().stop_after_tool_call(true)
    }

    fn shows() -> ToolOptions {
        ToolOptions::new().show_result(true)
    }

    /// What the messages of the tools say about the end of the run.
    fn stopping(run: &RunOutput) -> Vec<bool> {
        let tools = run.messages.iter().filter(|message| message.tool_call_id.is_some());
        tools.map(|message| message.stop_after_tool_call).collect()
    }

    #[tokio::test]
    async fn after_a_tool_that_stops_the_run_its_result_is_the_last_word() {
        let store = Store::new().await;
        let script = [turn().text("I look. ").tool_call("last", json!({})).tool_call("other", json!({}))];
        let agent = store.agent(vec![], script).tool(plain("last").options(stops())).tool(plain("other"));
        let agent = agent.build().unwrap();
        let run = agent.run("go").await.unwrap();
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "last is done"));
        assert_eq!(told(&run), ["last is done", "other is done"]);
        assert_eq!(stopping(&run), [true, false]);
        let marked: Vec<_> = run.tools.iter().map(|tool| tool.stop_after_tool_call).collect();
        assert_eq!(marked, [true, false]);
        assert_eq!(agent.get_run(&run.run_id).await.unwrap(), run);
    }

    #[tokio::test]
    async fn a_tool_may_stop_the_run_and_keep_its_result_to_itself() {
        let store = Store::new().await;
        let script = [turn().text("It is done.").tool_call("last", json!({}))];
        let agent = store.agent(vec![], script).tool(plain("last").options(stops().show_result(false)));
        let run = agent.build().unwrap().run("go").await.unwrap();
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "It is done."));
    }

    #[tokio::test]
    async fn a_tool_that_fails_does_not_stop_the_run() {
        let store = Store::new().await;
        let bad = Custom::new("last", || async { Err("not this time".to_owned()) }).options(stops());
        let run = store.agent(vec![], calls(&["last"])).tool(bad).build().unwrap().run("go").await.unwrap();
        assert_eq!(run.content(), "the model's last word");
        assert_eq!((told(&run), stopping(&run)), (vec!["not this time".to_owned()], vec![false]));
    }

    #[tokio::test]
    async fn a_result_that_is_shown_stands_before_the_models_last_word() {
        let store = Store::new().await;
        let agent = store.agent(vec![], calls(&["seen", "unseen"])).tool(plain("seen").options(shows()));
        let agent = agent.tool(plain("unseen")).build().unwrap();
        let mut events = agent.run("go").stream();
        let (mut said, mut whole) = (Vec::new(), None);
        while let Some(event) = events.next().await {
            match event.unwrap() {
                RunEvent::RunContent { content, .. } => said.push(content),
                RunEvent::RunCompleted { content, .. } => whole = content,
                _ => {}
            }
        }
        assert_eq!((said[0].as_str(), said[1..].concat().as_str()), ("seen is done", "the model's last word"));
        assert_eq!(whole, Some(said.concat()));
    }

    #[tokio::test]
    async fn what_a_paused_call_was_shown_with_decides_in_another_process_too() {
        let store = Store::new().await;
        let build = |options: ToolOptions, db| {
            let builder = Agent::builder().id("agent").db(db).tool(plain("last").options(options).approved());
            builder.model(kern::models::ScriptedModel::new(calls(&["last"]))).build().unwrap()
        };
        let (with, without) = (stops(), ToolOptions::new());
        for (first, then, said) in [(with, without, "last is done"), (without, with, "the model's last word")] {
            let run = build(first, store.db.clone()).run("go").user_id("alice").await.unwrap();
            assert_eq!(run.requirements[0].tool_execution.stop_after_tool_call, first.stop_after_tool_call);
            store.approve_all(&run.run_id).await;
            let run = build(then, store.again().await).continue_run(&run.run_id).user_id("alice").await.unwrap();
            assert_eq!((run.status, run.content()), (RunStatus::Completed, said));
        }
    }

    #[tokio::test]
    async fn a_rejected_call_does_not_stop_the_run() {
        let store = Store::new().await;
        let agent = store.agent(vec![], calls(&["last"])).tool(plain("last").options(stops()).approved());
        let agent = agent.build().unwrap();
        let run = agent.run("go").user_id("alice").await.unwrap();
        let row = &store.approvals(&run.run_id).await[0];
        let no = Resolution::rejected().by("bob");
        store.db.update_approval(&row.id, ApprovalStatus::Pending, no).await.unwrap();
        let run = agent.continue_run(&run.run_id).user_id("alice").await.unwrap();
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "the model's last word"));
    }
}
