//! What an approver sends along, through an agent with real tools: edits, values, results, and asking again.

use kern::db::Db as _;
use kern::models::turn;
use kern::prelude::*;
use kern::run::RunId;
use kern_tests::folder::unique;
use kern_tests::ledger;
use kern_tests::store::{Store, code, one_call, told};
use kern_tests::tools::{delete_user, erase_user, mail, mail_all, run_outside_approved};
use serde_json::Value;

async fn paused(store: &Store, agent: &Agent) -> (String, RunOutput) {
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.expect("it pauses");
    assert!(run.is_paused(), "{run:?}");
    assert!(!store.approvals(&run.run_id).await.is_empty() || !run.requirements.is_empty());
    (session, run)
}

async fn decide(store: &Store, run_id: &RunId, data: Value) -> kern_db::Result<kern::approval::Approval> {
    let seen = store.approvals(run_id).await.pop().expect("there is an approval");
    let yes = Resolution::approved().by("admin").digest(seen.digest).data(data);
    store.db.update_approval(&seen.id, ApprovalStatus::Pending, yes).await
}

#[tokio::test]
async fn what_an_approver_edits_is_what_runs_and_what_everybody_sees() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
    let (session, run) = paused(&store, &agent).await;
    let row = decide(&store, &run.run_id, json!({ "edited_args": { "user_id": "u2" } })).await.unwrap();
    assert_eq!((row.version, row.edited_by.unwrap().subject.as_str()), (1, "admin"));
    // The quick start, with the requirements as they were before the edit.
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await.unwrap();
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!((ledger::of(&session), told(&run)), (vec!["delete u2".to_owned()], vec!["deleted u2".to_owned()]));
    assert_eq!(run.tool_calls()[0].tool_args.as_ref().unwrap()["user_id"], "u2");
    assert_eq!(store.count_actions(&run.run_id, "requirement_mismatch").await, 0);
}

#[tokio::test]
async fn schedule_9_the_quick_starts_requirements_do_not_confirm_an_edit() {
    let store = Store::new().await;
    let agent = store.agent(tools![erase_user], one_call("erase_user", json!({ "user_id": "u1" }))).build().unwrap();
    let (session, mut run) = paused(&store, &agent).await;
    run.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
    let (run_id, confirmed) = (run.run_id.clone(), run.requirements);
    // Confirmed while the approver is still asked …
    let early = agent.continue_run(&run_id).requirements(confirmed.clone()).user_id("alice").await;
    assert_eq!(code(early), "approval_pending");
    // … who changes what alice has said yes to.
    decide(&store, &run_id, json!({ "edited_args": { "user_id": "u2" } })).await.unwrap();
    for requirements in [confirmed, vec![]] {
        let stale = agent.continue_run(&run_id).requirements(requirements).user_id("alice").await;
        assert_eq!(code(stale), "requirements_unresolved");
    }
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(ledger::of(&session), [] as [&str; 0]);
    assert_eq!(store.count_actions(&run_id, "requirement_mismatch").await, 0);
    let mut shown = agent.get_run(&run_id).await.unwrap();
    assert_eq!(shown.requirements[0].tool_args()["user_id"], "u2", "what is asked now");
    shown.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
    let run = agent.continue_run(&run_id).requirements(shown.requirements).user_id("alice").await.unwrap();
    assert_eq!((run.status, ledger::of(&session)), (RunStatus::Completed, vec!["erase u2".to_owned()]));
}

/// Text of even length.
struct Even(String);

impl<'de> serde::Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len().is_multiple_of(2) { Ok(Self(text)) } else { Err(serde::de::Error::custom("its length is odd")) }
    }
}

impl schemars::JsonSchema for Even {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Even".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Take a text.
#[approval]
#[tool]
async fn take(text: Even, ctx: &RunContext) -> String {
    ledger::enter(ctx, format!("take {}", text.0));
    text.0
}

#[tokio::test]
async fn an_edit_that_only_the_tools_own_types_refuse_is_an_outcome_and_blocks_nothing() {
    let store = Store::new().await;
    let agent = store.agent(tools![take], one_call("take", json!({ "text": "even" }))).build().unwrap();
    let (session, run) = paused(&store, &agent).await;
    // The schema says less than the type does, and the store has only the schema.
    decide(&store, &run.run_id, json!({ "edited_args": { "text": "odd" } })).await.unwrap();
    let run = agent.continue_run(&run.run_id).await.unwrap();
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(ledger::of(&session), [] as [&str; 0], "the body was not entered");
    assert_eq!(store.states(&run.run_id).await, ["failed"]);
    assert!(told(&run)[0].contains("its length is odd"), "{:?}", told(&run));
}

#[tokio::test]
async fn an_approver_fills_what_the_user_was_asked_for() {
    for data in [json!({ "values": { "to": "a@b.example", "copies": 2 } }), json!({ "to": "a@b.example", "copies": 2 })]
    {
        let store = Store::new().await;
        let agent = store.agent(tools![mail_all], one_call("mail_all", json!({ "subject": "hi" }))).build().unwrap();
        let (session, run) = paused(&store, &agent).await;
        let id = store.approvals(&run.run_id).await.remove(0).id;
        let early = store.db.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("admin"));
        assert_eq!(early.await.unwrap_err().code(), "invalid");
        for wrong in [
            json!({ "values": { "to": 3, "copies": 2 } }),
            json!({ "values": { "to": "a@b.example", "copies": 256 } }),
            json!({ "values": { "to": "a@b.example" } }),
            json!({ "values": { "to": "a@b.example", "copies": 2, "subject": "mine" } }),
        ] {
            assert_eq!(decide(&store, &run.run_id, wrong).await.unwrap_err().code(), "invalid");
        }
        decide(&store, &run.run_id, data).await.unwrap();
        let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
        assert_eq!(ledger::of(&session), ["mail_all hi to a@b.example x2"]);
    }
}

#[tokio::test]
async fn an_approver_brings_the_result_of_another_system() {
    let store = Store::new().await;
    let script = one_call("run_outside_approved", json!({ "command": "reboot" }));
    let agent = store.agent(tools![run_outside_approved], script).build().unwrap();
    let (session, run) = paused(&store, &agent).await;
    decide(&store, &run.run_id, json!({ "result": "rebooted" })).await.unwrap();
    let run = agent.resume_decided_runs().await.unwrap().remove(0).unwrap();
    assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec!["rebooted".to_owned()]));
    assert_eq!(ledger::of(&session), [] as [&str; 0]);
}

#[tokio::test]
async fn answers_that_come_again_or_too_late_change_nothing() {
    let store = Store::new().await;
    let turns = [turn().tool_call("mail", json!({ "subject": "hi" })), turn().text("ok")];
    let agent = store.agent(tools![mail], turns).build().unwrap();
    let (session, run) = paused(&store, &agent).await;
    let fill = |to: Value| {
        let mut requirements = run.requirements.clone();
        requirements[0].provide_user_input([("to", to)]).unwrap();
        requirements
    };
    let wrong = agent.continue_run(&run.run_id).requirements(fill(json!(["a"]))).user_id("alice").await;
    assert_eq!(code(wrong), "invalid_answer");
    let done = agent.continue_run(&run.run_id).requirements(fill(json!("a"))).user_id("alice").await.unwrap();
    assert_eq!(done.status, RunStatus::Completed);
    for late in ["a", "b"] {
        let again = agent.continue_run(&run.run_id).requirements(fill(json!(late))).user_id("alice").await;
        assert_eq!(code(again), "not_paused");
    }
    assert_eq!(ledger::of(&session), ["mail hi to a"]);
}

/// Schemas as schemars makes them.
mod schemas {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Inner {
        name: String,
        port: u16,
        next: Option<Box<Inner>>,
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Plain {
        /// With a comment.
        One,
        Two,
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Mixed {
        Unit,
        Tuple(u8, String),
        Named { at: i32 },
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Tagged {
        A { x: f64 },
        B { y: bool },
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Untagged {
        Number(i64),
        Text(String),
    }

    /// Take everything.
    #[approval]
    #[tool]
    #[expect(clippy::too_many_arguments, reason = "one of each")]
    async fn everything(
        inner: Inner,
        plain: Plain,
        mixed: Mixed,
        tagged: Tagged,
        untagged: Untagged,
        maybe: Option<u8>,
        list: Vec<Option<String>>,
        map: HashMap<String, i8>,
        ordered: BTreeMap<String, Vec<u32>>,
        pair: (String, u8),
        letter: char,
        wide: u64,
        size: usize,
    ) -> String {
        let _ = (inner, plain, mixed, tagged, untagged, maybe, list, map, ordered, pair, letter, wide, size);
        "all".to_owned()
    }

    fn good() -> Value {
        json!({
            "inner": { "name": "a", "port": 80, "next": { "name": "b", "port": 81 } },
            "plain": "two",
            "mixed": { "Tuple": [1, "x"] },
            "tagged": { "kind": "A", "x": 0.5 },
            "untagged": "text",
            "maybe": null,
            "list": ["x", null],
            "map": { "k": -128 },
            "ordered": { "k": [1, 2] },
            "pair": ["x", 255],
            "letter": "é",
            "wide": 9_007_199_254_740_991_i64,
            "size": 0,
        })
    }

    #[tokio::test]
    async fn what_the_store_takes_the_tool_takes_and_what_it_refuses_it_names() {
        let store = Store::new().await;
        let agent = store.agent(tools![everything], one_call("everything", good())).build().unwrap();
        let (_, run) = paused(&store, &agent).await;
        let wrong: &[(&str, Value)] = &[
            ("/inner/port", json!({ "name": "a", "port": 65_536 })),
            ("/inner/next", json!({ "name": "a", "port": 1, "next": { "name": "b", "port": -1 } })),
            ("/inner/more", json!({ "name": "a", "port": 1, "more": 1 })),
            ("/inner/name", json!({ "port": 1 })),
            ("/plain", json!("three")),
            ("/mixed", json!({ "Tuple": [256, "x"] })),
            ("/mixed", json!({ "Named": {} })),
            ("/mixed", json!("Tuple")),
            ("/tagged", json!({ "kind": "A", "y": true })),
            ("/tagged", json!({ "kind": "C" })),
            ("/untagged", json!([])),
            ("/maybe", json!(256)),
            ("/list/0", json!([1])),
            ("/map/k", json!({ "k": 128 })),
            ("/ordered/k/0", json!({ "k": [-1] })),
            ("/pair", json!(["x"])),
            ("/pair/1", json!(["x", 256])),
            ("/letter", json!("ab")),
            ("/wide", json!(-1)),
            ("/size", json!(1.5)),
        ];
        for (at, value) in wrong {
            let name = at.split('/').nth(1).expect("a name");
            let mut arguments = good();
            arguments[name] = value.clone();
            let refused = decide(&store, &run.run_id, json!({ "edited_args": arguments })).await.unwrap_err();
            assert_eq!(refused.code(), "invalid", "{at}: {refused}");
            assert!(refused.to_string().contains(at), "{at} in {refused}");
        }
        // Each form of an enum, and what is optional left out.
        for (name, value) in [
            ("mixed", json!("Unit")),
            ("mixed", json!({ "Named": { "at": -1 } })),
            ("tagged", json!({ "kind": "B", "y": true })),
            ("untagged", json!(-3)),
            ("maybe", json!(255)),
        ] {
            let store = Store::new().await;
            let agent = store.agent(tools![everything], one_call("everything", good())).build().unwrap();
            let (_, run) = paused(&store, &agent).await;
            let mut arguments = good();
            arguments[name] = value;
            decide(&store, &run.run_id, json!({ "edited_args": arguments })).await.unwrap();
            let run = agent.continue_run(&run.run_id).await.unwrap();
            assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec!["all".to_owned()]), "{name}");
        }
    }
}

/// `ask_again`.
mod asked_again {
    use kern::models::ScriptedModel;
    use kern::tools::ToolHandle;

    use super::*;

    /// Delete a key. An administrator decides.
    #[approval]
    #[tool(name = "change")]
    async fn protected(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("protected {key}"));
        key
    }

    /// Delete a key, in another way. An administrator decides, and the user confirms.
    #[approval]
    #[tool(name = "change", version = "2", requires_confirmation)]
    async fn newer(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("newer {key}"));
        key
    }

    /// Delete a key, in another way. The user confirms.
    #[tool(name = "change", version = "3", requires_confirmation)]
    async fn laxer(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("laxer {key}"));
        key
    }

    /// Delete a key, in another way. Nobody is asked.
    #[tool(name = "change", version = "4")]
    async fn free(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("free {key}"));
        key
    }

    /// Delete a key by number.
    #[approval]
    #[tool(name = "change")]
    async fn retyped(key: u64, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("retyped {key}"));
        key.to_string()
    }

    /// Delete a key. The user confirms.
    #[tool(name = "change", requires_confirmation)]
    async fn confirmed(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("confirmed {key}"));
        key
    }

    /// Delete a key, in another way. The user confirms.
    #[tool(name = "change", requires_confirmation, version = "2")]
    async fn confirmed_newer(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("confirmed newer {key}"));
        key
    }

    fn build(store: &Store, tools: Vec<ToolHandle>) -> Agent {
        let model = ScriptedModel::new(one_call("change", json!({ "key": "k" })));
        store.agent(tools, []).model(model).build().expect("the agent is right")
    }

    #[tokio::test]
    async fn another_build_asks_again_for_what_waits_and_for_what_was_approved() {
        for approved in [false, true] {
            let store = Store::new().await;
            let old = build(&store, tools![protected]);
            let (session, run) = paused(&store, &old).await;
            let run_id = run.run_id.clone();
            if approved {
                store.approve_all(&run_id).await;
            }
            let before = store.approvals(&run_id).await.remove(0);
            let new = build(&store, tools![newer]);
            let asked = new.continue_run(&run_id).ask_again().user_id("alice").await.unwrap();
            // As it stands: the new approval, and what the tool asks of the user by now.
            assert_eq!((asked.status, asked.requirements.len()), (RunStatus::Paused, 1));
            let row = store.approvals(&run_id).await.pop().unwrap();
            assert_ne!(row.id, before.id);
            let tool = &asked.requirements[0].tool_execution;
            assert_eq!((tool.approval_id.as_ref(), tool.requires_confirmation), (Some(&row.id), Some(true)));
            assert_eq!(asked.tools[0].approval_id.as_ref(), Some(&row.id));
            assert_eq!(tool.tool_args.as_ref().unwrap()["key"], "k");
            assert_eq!(row.status, ApprovalStatus::Pending);
            assert_eq!(ledger::of(&session), [] as [&str; 0]);
            // Once more there is nothing to ask again: it waits.
            assert_eq!(code(new.continue_run(&run_id).ask_again().await), "approval_pending");
            assert_eq!(store.approvals(&run_id).await.len(), 2);
            store.approve_all(&run_id).await;
            // The old build runs neither generation, and going on with what was shown before confirms nothing.
            assert_eq!(code(old.continue_run(&run_id).user_id("alice").await), "tool_changed");
            let stale = new.continue_run(&run_id).requirements(run.requirements).user_id("alice").await;
            assert_eq!(code(stale), "requirements_unresolved");
            let mut shown = asked.requirements;
            shown[0].confirm().unwrap();
            let done = new.continue_run(&run_id).requirements(shown).user_id("alice").await.unwrap();
            assert_eq!((done.status, ledger::of(&session)), (RunStatus::Completed, vec!["newer k".to_owned()]));
        }
    }

    #[tokio::test]
    async fn an_answer_to_what_was_shown_before_is_asked_again_and_a_no_is_not() {
        for says_no in [false, true] {
            let store = Store::new().await;
            let (session, run) = paused(&store, &build(&store, tools![confirmed])).await;
            let new = build(&store, tools![confirmed_newer]);
            let run_id = run.run_id.clone();
            let mut old = run.requirements.clone();
            let asked = new.continue_run(&run_id).ask_again().user_id("alice").await.unwrap();
            assert_ne!(asked.requirements[0].id, old[0].id);
            if says_no {
                old[0].reject("not that").unwrap();
                let done = new.continue_run(&run_id).requirements(old).user_id("alice").await.unwrap();
                assert_eq!(done.status, RunStatus::Completed);
                assert!(told(&done)[0].contains("not that"));
                assert_eq!(ledger::of(&session), [] as [&str; 0]);
                continue;
            }
            old[0].confirm().unwrap();
            let stale = new.continue_run(&run_id).requirements(old).user_id("alice").await;
            assert_eq!(code(stale), "requirements_unresolved");
            assert_eq!(store.count_actions(&run_id, "requirement_mismatch").await, 0);
            let mut shown = asked.requirements;
            shown[0].confirm().unwrap();
            new.continue_run(&run_id).requirements(shown).user_id("alice").await.unwrap();
            assert_eq!(ledger::of(&session), ["confirmed newer k"]);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_again_stays_as_it_is_and_the_old_build_runs_it() {
        for (changed, expected) in [
            (tools![retyped], "tool_changed"),
            (tools![free], "tool_changed"),
            (tools![], "tool_changed"),
            (tools![laxer], "invalid"),
        ] {
            let store = Store::new().await;
            let old = build(&store, tools![protected]);
            let (session, run) = paused(&store, &old).await;
            store.approve_all(&run.run_id).await;
            let before = store.actions(&run.run_id).await;
            let refused = build(&store, changed).continue_run(&run.run_id).ask_again().user_id("alice").await;
            assert_eq!(code(refused), expected);
            assert_eq!(store.actions(&run.run_id).await, before);
            assert_eq!(old.continue_run(&run.run_id).await.unwrap().status, RunStatus::Completed);
            assert_eq!(ledger::of(&session), ["protected k"]);
        }
    }

    #[tokio::test]
    async fn whoever_watches_sees_what_is_asked_now() {
        let store = Store::new().await;
        let (_, run) = paused(&store, &build(&store, tools![protected])).await;
        let mut events = build(&store, tools![newer]).continue_run(&run.run_id).ask_again().user_id("alice").stream();
        let Some(Ok(RunEvent::RunPaused { requirements, .. })) = events.next().await else { panic!("it is paused") };
        let row = store.approvals(&run.run_id).await.pop().unwrap();
        assert_eq!(requirements[0].tool_execution.approval_id, Some(row.id));
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn where_no_tool_has_changed_the_run_goes_on() {
        let store = Store::new().await;
        let agent = build(&store, tools![protected]);
        let (session, run) = paused(&store, &agent).await;
        assert_eq!(code(agent.continue_run(&run.run_id).ask_again().await), "approval_pending");
        store.approve_all(&run.run_id).await;
        let done = agent.continue_run(&run.run_id).ask_again().user_id("alice").await.unwrap();
        assert_eq!((done.status, ledger::of(&session)), (RunStatus::Completed, vec!["protected k".to_owned()]));
        assert_eq!(store.count_actions(&run.run_id, "asked_again").await, 0);
    }
}
