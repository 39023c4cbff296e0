//! What the model asks the user with `ask_user` and `get_user_input`: the answers that count, and all the others.

use std::sync::{Arc, Mutex};

use kern::db::Db as _;
use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, turn};
use kern::prelude::*;
use kern::run::{RequirementType, Role};
use kern::tools::{
    ArgumentError, Arguments, PauseType, Tool, ToolCall, ToolDescriptor, ToolFuture, ToolOutput, ToolPolicy,
    UserControlFlowTools, UserFeedbackTools,
};
use kern_tests::folder::unique;
use kern_tests::ledger;
use kern_tests::store::{Store, code, told};
use kern_tests::tools::{mail, restart, run_outside};
use serde_json::Value;

const NOTHING: [&str; 0] = [];
const EU: &str = r#"User feedback received: [{"question": "Which region?", "selected": ["eu"]}]"#;

/// One question, and one with several answers.
fn questions() -> Value {
    json!({ "questions": [
        { "question": "Which region?", "header": "Region", "options": [{ "label": "eu" }, { "label": "us" }] },
        {
            "question": "Which extras?",
            "header": "Extras",
            "options": [{ "label": "backup" }, { "label": "logs", "description": "for 30 days" }],
            "multi_select": true,
        },
    ] })
}

fn region() -> Value {
    json!({ "questions": [questions()["questions"][0]] })
}

/// One field of each type, one of them unknown.
fn fields() -> Value {
    let field = |name: &str, kind: &str| json!({ "field_name": name, "field_type": kind, "field_description": "x" });
    json!({ "user_input_fields": [
        field("city", "str"), field("nights", "int"), field("budget", "float"), field("breakfast", "bool"),
        field("guests", "list"), field("address", "dict"), field("remark", "novel"),
    ] })
}

fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("city", json!("Paris")),
        ("nights", json!(3)),
        ("budget", json!(99.5)),
        ("breakfast", json!(true)),
        ("guests", json!(["ann"])),
        ("address", json!({ "street": "x" })),
        ("remark", json!("")),
    ]
}

/// A run of alice that waits for what one call asks.
struct Case {
    store: Store,
    agent: Agent,
    run: RunOutput,
}

impl Case {
    async fn of(calls: Vec<(&str, Value)>) -> Self {
        let store = Store::new().await;
        let agent = agent_on(&store, calls).build().expect("the agent is right");
        let run = agent.run("go").user_id("alice").await.expect("the run starts");
        assert!(run.is_paused(), "{:?}", told(&run));
        Self { store, agent, run }
    }

    async fn questions() -> Self {
        Self::of(vec![("ask_user", questions())]).await
    }

    async fn region() -> Self {
        Self::of(vec![("ask_user", region())]).await
    }

    async fn fields() -> Self {
        Self::of(vec![("get_user_input", fields())]).await
    }

    fn requirement(&self) -> RunRequirement {
        self.run.requirements[0].clone()
    }

    fn eu(&self) -> RunRequirement {
        let mut requirement = self.requirement();
        requirement.provide_user_feedback([("Which region?", ["eu"])]).expect("it is asked");
        requirement
    }

    async fn go_on(&self, requirements: impl IntoIterator<Item = RunRequirement>) -> kern::Result<RunOutput> {
        self.agent.continue_run(&self.run.run_id).requirements(requirements).user_id("alice").await
    }

    /// Nothing has started, and the run still waits.
    async fn still_waits(&self, why: &str) {
        assert_eq!(self.store.states(&self.run.run_id).await, NOTHING, "{why}");
        let run = self.agent.get_run(&self.run.run_id).await.expect("the run is there");
        assert!(run.is_paused() && run.active_requirements().count() > 0, "{why}");
    }
}

fn agent_on(store: &Store, calls: Vec<(&str, Value)>) -> kern::agent::AgentBuilder {
    let first = calls.into_iter().fold(turn(), |turn, (name, arguments)| turn.tool_call(name, arguments));
    let agent = store.agent(tools![restart, mail, run_outside], [first, turn().text("ok")]);
    agent.toolkit(UserFeedbackTools::new()).toolkit(UserControlFlowTools::new())
}

/// Sends a requirement through JSON, changed on the way.
fn changed(requirement: &RunRequirement, change: impl FnOnce(&mut Value)) -> RunRequirement {
    let mut value = serde_json::to_value(requirement).expect("a requirement is JSON");
    change(&mut value);
    serde_json::from_value(value).expect("it is read again")
}

mod answered {
    use super::*;

    #[tokio::test]
    async fn the_users_own_decisions_are_made_as_written() -> kern::Result<()> {
        let case = Case::of(vec![
            ("restart", json!({ "service": "web-1" })),
            ("mail", json!({ "subject": "hi" })),
            ("ask_user", region()),
            ("run_outside", json!({ "command": "ls" })),
        ])
        .await;
        let (agent, mut run) = (case.agent.clone(), case.run.clone());
        for req in run.active_requirements_mut() {
            if req.needs_confirmation() {
                req.confirm()?;
            } else if req.needs_user_input() {
                req.provide_user_input([("to", json!("a@b.example"))])?;
            } else if req.needs_user_feedback() {
                req.provide_user_feedback([("Which region?", ["eu"])])?;
            } else if req.needs_external_execution() {
                req.set_external_execution_result("ticket 17 done")?;
            }
        }
        let run = agent.continue_run(&run.run_id).requirements(run.requirements).await?;
        let answers = ["restarted web-1", "sent hi to a@b.example, 1 copies", EU, "ticket 17 done"];
        assert_eq!(told(&run), answers);
        Ok(())
    }

    #[tokio::test]
    async fn questions_are_answered_and_the_run_goes_on_in_another_handle() {
        let case = Case::questions().await;
        let mut requirement = case.requirement();
        assert!(requirement.needs_user_feedback() && !requirement.needs_user_input());
        assert!(!requirement.needs_confirmation() && !requirement.needs_external_execution());
        assert_eq!(requirement.pause_type(), RequirementType::UserFeedback);
        assert_eq!(case.run.content(), "I have tools to execute, but I need user input.");
        let answers = [("Which extras?", vec!["logs", "backup"]), ("Which region?", vec!["us"])];
        requirement.provide_user_feedback(answers).unwrap();
        assert!(requirement.is_resolved());

        // Another process: another connection, another agent of the same id.
        let db = case.store.again().await;
        let other = agent_on(&case.store, vec![("ask_user", questions())]).db(db).build().unwrap();
        let run = other.continue_run(&case.run.run_id).requirements([requirement]).user_id("alice").await.unwrap();
        let answer = r#"User feedback received: [{"question": "Which region?", "selected": ["us"]}, {"question": "Which extras?", "selected": ["logs", "backup"]}]"#;
        assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec![answer.to_owned()]));
        // It went the way of every protected call, and what was answered is what was digested.
        let actions = case.store.actions(&run.run_id).await;
        let way = ["run_paused", "confirmed", "ready", "run_claimed", "executing", "succeeded"];
        let places: Vec<_> = way.iter().map(|action| actions.iter().position(|found| found == action)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{actions:?}");
        let call = case.store.db.get_run(&run.run_id).await.unwrap().calls.remove(0);
        assert_eq!(call.version, 1);
        assert!(call.arguments.contains(r#""selected_options":["us"]"#), "{}", call.arguments);
        // Clients see the answers in the questions, and the arguments as the model wrote them.
        let tool = &run.tools[0];
        assert_eq!(Value::from(tool.tool_args.clone().unwrap()), questions());
        let shown = tool.user_feedback_schema.as_ref().unwrap();
        assert_eq!(shown[0].selected_options.as_deref(), Some(&["us".to_owned()][..]));
        let chosen: Vec<_> = shown[0].options.iter().map(|option| option.selected).collect();
        assert_eq!((chosen, tool.requires_user_input, tool.answered), (vec![false, true], Some(false), Some(true)));
    }

    #[tokio::test]
    async fn a_form_is_filled_and_the_run_goes_on_in_another_handle() {
        let case = Case::fields().await;
        let mut requirement = case.requirement();
        assert!(requirement.needs_user_input() && !requirement.needs_user_feedback());
        assert_eq!(requirement.pause_type(), RequirementType::UserInput);
        let schema = requirement.user_input_schema.clone().unwrap();
        let types: Vec<_> = schema.iter().map(|field| field.field_type.as_str()).collect();
        assert_eq!(types, ["str", "int", "float", "bool", "list", "dict", "str"]);
        requirement.provide_user_input(values()).unwrap();
        assert!(requirement.is_resolved());

        let db = case.store.again().await;
        let other = agent_on(&case.store, vec![("get_user_input", fields())]).db(db).build().unwrap();
        let run = other.continue_run(&case.run.run_id).requirements([requirement]).user_id("alice").await.unwrap();
        let given: Vec<Value> =
            values().into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let told = told(&run).remove(0);
        let (said, json) = told.split_at("User inputs retrieved: ".len());
        assert_eq!((said, serde_json::from_str::<Value>(json).unwrap()), ("User inputs retrieved: ", json!(given)));
        assert!(json.starts_with(r#"[{"name": "city", "value": "Paris"}, "#), "{json}");
        assert_eq!(Value::from(run.tools[0].tool_args.clone().unwrap()), fields());
        let shown = run.tools[0].user_input_schema.as_ref().unwrap();
        assert_eq!(shown[1].value, Some(json!(3)));
    }

    #[tokio::test]
    async fn a_no_reaches_the_model_and_nothing_starts() {
        for (call, arguments) in [("ask_user", questions()), ("get_user_input", fields())] {
            let case = Case::of(vec![(call, arguments)]).await;
            let mut requirement = case.requirement();
            requirement.reject("none of your business").unwrap();
            assert!(requirement.is_resolved());
            let run = case.go_on([requirement]).await.unwrap();
            assert!(told(&run)[0].contains("none of your business"), "{:?}", told(&run));
            assert_eq!(case.store.states(&run.run_id).await, NOTHING);
            assert_eq!(run.tools[0].answered, None);
        }
    }

    #[tokio::test]
    async fn several_may_be_chosen_or_none_where_several_may_be() {
        for extras in [vec![], vec!["logs"], vec!["backup", "logs"]] {
            let case = Case::questions().await;
            let mut requirement = case.requirement();
            let answers = [("Which region?", vec!["eu"]), ("Which extras?", extras.clone())];
            requirement.provide_user_feedback(answers).unwrap();
            let run = case.go_on([requirement]).await.unwrap();
            let expected = format!("\"selected\": {}}}]", json!(extras).to_string().replace(',', ", "));
            assert!(told(&run)[0].ends_with(&expected), "{:?}", told(&run));
        }
    }

    #[tokio::test]
    async fn answers_are_given_in_parts() {
        let case = Case::questions().await;
        let mut requirement = case.requirement();
        requirement.provide_user_feedback([("Which region?", ["eu"])]).unwrap();
        assert!(requirement.needs_user_feedback() && !requirement.is_resolved());
        assert_eq!(code(case.go_on([requirement.clone()]).await), "requirements_unresolved");
        case.still_waits("a part").await;
        requirement.provide_user_feedback([("Which extras?", ["logs"])]).unwrap();
        assert_eq!(case.go_on([requirement]).await.unwrap().status, RunStatus::Completed);

        let case = Case::fields().await;
        let mut requirement = case.requirement();
        let mut values = values();
        let last = values.split_off(1);
        requirement.provide_user_input(values).unwrap();
        assert!(requirement.needs_user_input());
        assert_eq!(code(case.go_on([requirement.clone()]).await), "requirements_unresolved");
        case.still_waits("a part").await;
        requirement.provide_user_input(last).unwrap();
        assert_eq!(case.go_on([requirement]).await.unwrap().status, RunStatus::Completed);
    }
}

mod refused {
    use super::*;

    #[tokio::test]
    async fn a_methods_answer_has_to_fit_the_questions() {
        let case = Case::questions().await;
        let fresh = || case.requirement();
        let wrong: &[(&str, &[&str], &str)] = &[
            ("Which planet?", &["eu"], "does not ask"),
            ("Which region?", &["mars"], "no option"),
            ("Which region?", &["EU"], "no option"),
            ("Which region?", &["eu", "us"], "takes one option"),
            ("Which region?", &[], "takes one option"),
            ("Which extras?", &["logs", "logs"], "chosen twice"),
        ];
        for (question, labels, why) in wrong {
            let mut requirement = fresh();
            let good: (&str, &[&str]) = ("Which extras?", &["backup"]);
            let error = requirement.provide_user_feedback([good, (*question, *labels)].map(|(q, l)| (q, l.to_vec())));
            let error = error.unwrap_err();
            assert_eq!(error.code(), "invalid_answer");
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(requirement, fresh(), "nothing of it is kept: {question} {labels:?}");
        }
        assert_eq!(code(fresh().confirm()), "invalid_answer");
        assert_eq!(code(fresh().provide_user_input([("city", json!("x"))])), "invalid_answer");
        assert_eq!(code(fresh().set_external_execution_result("x")), "invalid_answer");
        let mut answered = Case::region().await.eu();
        assert_eq!(code(answered.provide_user_feedback([("Which region?", ["us"])])), "invalid_answer");
        assert_eq!(code(answered.reject("no")), "invalid_answer");
        let form = Case::fields().await;
        assert_eq!(code(form.requirement().provide_user_feedback([("Which region?", ["eu"])])), "invalid_answer");
        let confirmation = Case::of(vec![("restart", json!({ "service": "web" }))]).await;
        let asked = confirmation.requirement().provide_user_feedback([("Which region?", ["eu"])]);
        assert_eq!(code(asked), "invalid_answer");
    }

    #[tokio::test]
    async fn a_value_of_the_wrong_type_is_refused_and_nothing_starts() {
        let case = Case::fields().await;
        let wrong = [
            ("city", json!(1)),
            ("nights", json!("3")),
            ("nights", json!(3.5)),
            ("nights", json!(9_007_199_254_740_993_u64)),
            ("budget", json!("1")),
            ("breakfast", json!("yes")),
            ("guests", json!({})),
            ("address", json!([])),
            ("remark", json!(7)),
            ("city", Value::Null),
            ("remark", json!("x".repeat(70_000))),
        ];
        for (name, value) in wrong {
            let mut requirement = case.requirement();
            let mut values = values();
            values.retain(|(other, _)| *other != name);
            values.push((name, value));
            requirement.provide_user_input(values.clone()).unwrap();
            assert_eq!(code(case.go_on([requirement]).await), "invalid_answer", "{:?}", values.last());
        }
        case.still_waits("wrong types").await;
        let mut requirement = case.requirement();
        // A whole number is a number, and `3.0` is one.
        let mut values = values();
        values.retain(|(name, _)| !["nights", "budget"].contains(name));
        values.extend([("nights", json!(3.0)), ("budget", json!(100))]);
        requirement.provide_user_input(values).unwrap();
        assert_eq!(case.go_on([requirement]).await.unwrap().status, RunStatus::Completed);
    }

    type Change = (&'static str, fn(&mut Value), &'static str);

    /// Where an answered requirement for the region is changed, and how that is answered.
    const CHANGES: &[Change] = &[
        ("other options", |r| both(r, |q| q["options"] = json!([{ "label": "mars" }])), "completed"),
        ("an option not asked", |r| both(r, |q| q["selected_options"] = json!(["mars"])), "invalid_answer"),
        ("two of one", |r| both(r, |q| q["selected_options"] = json!(["eu", "us"])), "invalid_answer"),
        ("none of one", |r| both(r, |q| q["selected_options"] = json!([])), "invalid_answer"),
        (
            "more of one",
            |r| {
                both(r, |q| {
                    q["multi_select"] = json!(true);
                    q["selected_options"] = json!(["eu", "us"]);
                })
            },
            "invalid_answer",
        ),
        ("another question", |r| both(r, |q| q["question"] = json!("Shall I?")), "invalid_answer"),
        (
            "the question twice",
            |r| {
                for at in ["/user_feedback_schema", "/tool_execution/user_feedback_schema"] {
                    let list = r.pointer_mut(at).and_then(Value::as_array_mut).expect("a list");
                    list.push(list[0].clone());
                }
            },
            "invalid_answer",
        ),
        (
            "no questions, but answered",
            |r| {
                r["user_feedback_schema"] = json!([]);
                r["tool_execution"]["user_feedback_schema"] = json!([]);
            },
            "invalid_answer",
        ),
        ("answered without an answer", |r| both(r, |q| q["selected_options"] = Value::Null), "invalid_answer"),
        (
            "other arguments",
            |r| r["tool_execution"]["tool_args"]["questions"][0]["header"] = json!("Planet"),
            "requirement_mismatch",
        ),
        (
            "answers in the arguments",
            |r| {
                r["tool_execution"]["tool_args"]["questions"][0]["selected_options"] = json!(["us"]);
            },
            "requirement_mismatch",
        ),
        (
            "another question in every place",
            |r| {
                r["tool_execution"]["tool_args"]["questions"][0]["question"] = json!("Shall I?");
                both(r, |q| q["question"] = json!("Shall I?"));
            },
            "requirement_mismatch",
        ),
        (
            "another option in every place",
            |r| {
                r["tool_execution"]["tool_args"]["questions"][0]["options"] = json!([{ "label": "mars" }]);
                both(r, |q| q["selected_options"] = json!(["mars"]));
            },
            "requirement_mismatch",
        ),
        ("no arguments", |r| r["tool_execution"]["tool_args"] = json!({}), "invalid_answer"),
        ("another tool", |r| r["tool_execution"]["tool_name"] = json!("get_user_input"), "requirement_mismatch"),
        (
            "values for a form",
            |r| {
                let fields =
                    json!([{ "name": "Which region?", "field_type": "str", "description": null, "value": "us" }]);
                r["user_input_schema"] = fields.clone();
                r["tool_execution"]["user_input_schema"] = fields;
            },
            "completed",
        ),
    ];

    fn both(requirement: &mut Value, change: impl Fn(&mut Value)) {
        change(&mut requirement["user_feedback_schema"][0]);
        change(&mut requirement["tool_execution"]["user_feedback_schema"][0]);
    }

    #[tokio::test]
    async fn only_the_choice_is_believed_of_what_comes_back() {
        for (name, change, expected) in CHANGES {
            let case = Case::region().await;
            let outcome = case.go_on([changed(&case.eu(), change)]).await;
            if *expected == "completed" {
                assert_eq!(told(&outcome.unwrap()), [EU], "{name}");
                continue;
            }
            assert_eq!(code(outcome), *expected, "{name}");
            case.still_waits(name).await;
            let evidence = usize::from(*expected == "requirement_mismatch");
            assert_eq!(case.store.count_actions(&case.run.run_id, "requirement_mismatch").await, evidence, "{name}");
            // Nor does it stand in the way of the answer.
            assert_eq!(told(&case.go_on([case.eu()]).await.unwrap()), [EU], "{name}");
        }
    }

    #[tokio::test]
    async fn values_that_were_not_asked_for_are_refused_in_a_form_that_comes_back() {
        let case = Case::fields().await;
        let mut filled = case.requirement();
        filled.provide_user_input(values()).unwrap();
        let more = changed(&filled, |requirement| {
            for at in ["/user_input_schema", "/tool_execution/user_input_schema"] {
                let list = requirement.pointer_mut(at).unwrap().as_array_mut().unwrap();
                list.push(json!({ "name": "admin", "field_type": "bool", "description": null, "value": true }));
            }
        });
        assert_eq!(code(case.go_on([more]).await), "invalid_answer");
        let typed = changed(&filled, |requirement| {
            for at in ["/user_input_schema/1", "/tool_execution/user_input_schema/1"] {
                let field = requirement.pointer_mut(at).unwrap();
                field["field_type"] = json!("str");
                field["value"] = json!("three");
            }
        });
        assert_eq!(code(case.go_on([typed]).await), "invalid_answer");
        case.still_waits("a changed form").await;
    }

    #[tokio::test]
    async fn nobody_answers_for_somebody_else() {
        let case = Case::region().await;
        let bob = case.agent.continue_run(&case.run.run_id).requirements([case.eu()]).user_id("bob").await;
        assert_eq!(code(bob), "not_permitted");
        assert!(case.agent.resume_decided_runs().await.unwrap().is_empty());
        case.still_waits("bob and the worker").await;
        assert_eq!(told(&case.go_on([case.eu()]).await.unwrap()), [EU]);
    }

    #[tokio::test]
    async fn an_answer_for_what_nobody_asked_is_refused() {
        let case = Case::region().await;
        let elsewhere = changed(&case.eu(), |requirement| {
            requirement["id"] = json!("00000000-0000-7000-8000-000000000000");
            requirement["tool_execution"]["tool_call_id"] = json!("call_9");
        });
        let error = case.go_on([elsewhere.clone()]).await.unwrap_err();
        assert_eq!(error.code(), "invalid_answer");
        assert!(error.to_string().contains("call_9"), "{error}");
        case.still_waits("an answer to nothing").await;
        // Each valid answer is stored, and the wrong one said: what it was for is not known.
        assert_eq!(code(case.go_on([case.eu(), elsewhere]).await), "invalid_answer");
        assert_eq!(told(&case.go_on([]).await.unwrap()), [EU]);

        let nobodys = Case::of(vec![("restart", json!({ "service": "web" }))]).await;
        assert_eq!(code(nobodys.go_on([case.eu()]).await), "requirement_mismatch");
        nobodys.still_waits("an answer of another run").await;
    }

    #[tokio::test]
    async fn the_first_answer_counts_and_another_one_is_refused() {
        // The confirmation keeps the run waiting, so that the answer is stored and nothing else happens.
        let case = Case::of(vec![("ask_user", region()), ("restart", json!({ "service": "web" }))]).await;
        assert_eq!(code(case.go_on([case.eu()]).await), "requirements_unresolved");
        let mut us = case.requirement();
        us.provide_user_feedback([("Which region?", ["us"])]).unwrap();
        let error = case.go_on([us.clone()]).await.unwrap_err();
        assert_eq!(error.code(), "invalid_answer");
        assert!(error.to_string().contains("answered already"), "{error}");
        // What was stored is shown, and may come back any number of times.
        let mut stored = case.agent.get_run(&case.run.run_id).await.unwrap();
        let answered = &stored.requirements[0];
        assert!(answered.is_resolved() && !answered.needs_user_feedback());
        assert_eq!(stored.active_requirements().count(), 1);
        for requirements in [vec![case.eu()], stored.requirements.clone(), case.run.requirements.clone()] {
            assert_eq!(code(case.go_on(requirements).await), "requirements_unresolved");
        }
        stored.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
        let run = case.go_on(stored.requirements).await.unwrap();
        assert_eq!(told(&run), [EU, "restarted web"]);
        assert_eq!(code(case.go_on([us]).await), "not_paused");
        assert_eq!(case.store.states(&run.run_id).await, ["succeeded", "succeeded"]);
    }

    #[tokio::test]
    async fn the_first_result_of_another_system_counts_and_another_one_is_refused() {
        let case =
            Case::of(vec![("run_outside", json!({ "command": "ls" })), ("restart", json!({ "service": "web" }))]).await;
        let result = |text: &str| {
            let mut requirement = case.requirement();
            requirement.set_external_execution_result(text).unwrap();
            requirement
        };
        for again in [result("a"), result("a"), case.requirement()] {
            assert_eq!(code(case.go_on([again]).await), "requirements_unresolved");
        }
        assert_eq!(code(case.go_on([result("b")]).await), "invalid_answer");
        let mut stored = case.agent.get_run(&case.run.run_id).await.unwrap();
        stored.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
        assert_eq!(told(&case.go_on(stored.requirements).await.unwrap()), ["a", "restarted web"]);
    }

    #[tokio::test]
    async fn an_answer_counts_for_its_own_turn() {
        let store = Store::new().await;
        // The model gives both calls the same id.
        let ask = || turn().raw_tool_call(Some("c"), "ask_user", region().to_string());
        let agent = store.agent(vec![], [ask(), ask(), turn().text("ok")]).toolkit(UserFeedbackTools::new());
        let agent = agent.build().unwrap();
        let first = agent.run("go").user_id("alice").await.unwrap();
        let answers = |run: &RunOutput, label: &'static str| {
            let mut run = run.clone();
            let open = run.active_requirements_mut();
            open.for_each(|requirement| requirement.provide_user_feedback([("Which region?", [label])]).unwrap());
            agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice")
        };
        let second = answers(&first, "eu").await.unwrap();
        assert!(second.is_paused());
        // The run went on. The same answer again is none to the second question.
        assert_eq!(code(answers(&first, "us").await), "requirements_unresolved");
        assert_eq!(store.states(&first.run_id).await, ["succeeded"]);
        let run = answers(&second, "us").await.unwrap();
        assert_eq!(told(&run), [EU.to_owned(), EU.replace("eu", "us")]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_who_answer_at_once_one_counts_and_the_other_is_told() {
        for _ in 0..40 {
            let case = Case::region().await;
            let mut us = case.requirement();
            us.provide_user_feedback([("Which region?", ["us"])]).unwrap();
            let (one, other) = tokio::join!(case.go_on([case.eu()]), case.go_on([us]));
            // Whoever drove it is the one whose answer counted.
            if let Ok(run) = &one {
                assert_eq!(told(run), [EU]);
            }
            if let Ok(run) = &other {
                assert_eq!(told(run), [EU.replace("eu", "us")]);
            }
            for error in [&one, &other].into_iter().filter_map(|outcome| outcome.as_ref().err()) {
                let known = ["already_running", "not_paused", "invalid_answer", "not_mine"];
                assert!(known.contains(&error.code()), "{error}");
            }
            assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
            assert_eq!(case.store.states(&case.run.run_id).await, ["succeeded"]);
        }
    }
}

mod tools_of_other_builds {
    use super::*;

    /// A tool that takes whatever comes, under a name of kern's own.
    struct Anything(ToolDescriptor);

    impl Anything {
        fn new(name: &str, pause: Option<PauseType>) -> Self {
            let parameters =
                json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": true });
            Self(ToolDescriptor::new(name, "anything", parameters).policy(ToolPolicy::new(pause, None)))
        }
    }

    impl Tool for Anything {
        fn descriptor(&self) -> &ToolDescriptor {
            &self.0
        }

        fn check(&self, _: &Arguments, _: &[String]) -> Result<(), Vec<ArgumentError>> {
            Ok(())
        }

        fn call(&self, call: ToolCall) -> ToolFuture {
            ledger::enter(call.context(), "anything");
            Box::pin(async { Ok(ToolOutput::new("anything")) })
        }
    }

    #[tokio::test]
    async fn a_tool_of_the_same_name_is_no_form() {
        let store = Store::new().await;
        let agent = store.agent(vec![], [turn().tool_call("ask_user", questions()), turn().text("ok")]);
        let agent = agent.tool(Anything::new("ask_user", None)).build().unwrap();
        let run = agent.run("go").session_id(unique("session")).await.unwrap();
        assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec!["anything".to_owned()]));
    }

    #[tokio::test]
    async fn an_answer_is_not_taken_by_a_build_whose_tool_is_another() {
        for (call, arguments) in [("ask_user", region()), ("get_user_input", fields())] {
            let case = Case::of(vec![(call, arguments)]).await;
            let mut requirement = case.requirement();
            if call == "ask_user" {
                requirement.provide_user_feedback([("Which region?", ["eu"])]).unwrap();
            } else {
                requirement.provide_user_input(values()).unwrap();
            }
            let other = case.store.agent(vec![], [turn().text("ok")]);
            let other = other.tool(Anything::new(call, Some(PauseType::UserInput))).build().unwrap();
            let go_on = |agent: &Agent| {
                agent.continue_run(&case.run.run_id).requirements([requirement.clone()]).user_id("alice")
            };
            assert_eq!(code(go_on(&other).await), "invalid_answer", "{call}");
            assert_eq!(code(other.continue_run(&case.run.run_id).user_id("alice").await), "tool_changed", "{call}");
            let none = case.store.agent(vec![], [turn().text("ok")]).build().unwrap();
            assert_eq!(code(go_on(&none).await), "invalid_answer", "{call}");
            // Looking at it there changes nothing, either.
            assert!(none.get_run(&case.run.run_id).await.unwrap().is_paused());
            case.still_waits(call).await;
            assert_eq!(go_on(&case.agent).await.unwrap().status, RunStatus::Completed, "{call}");
        }
    }
}

mod asked {
    use super::*;

    /// Every form that nobody is shown, and what the model is told of it.
    fn wrong_forms() -> Vec<(&'static str, Value, &'static str)> {
        let question = |change: fn(&mut Value)| {
            let mut arguments = region();
            change(&mut arguments["questions"][0]);
            arguments
        };
        let field = |change: fn(&mut Value)| {
            let mut arguments = json!({ "user_input_fields": [fields()["user_input_fields"][0]] });
            change(&mut arguments["user_input_fields"][0]);
            arguments
        };
        let many = |key: &str, entry: &Value, name: &str, count: usize| {
            let entries = (0..count).map(|number| {
                let mut entry = entry.clone();
                entry[name] = json!(format!("x{number}"));
                entry
            });
            json!({ key: entries.collect::<Vec<_>>() })
        };
        let twice = |arguments: &Value, key: &str| json!({ key: [arguments[key][0], arguments[key][0]] });
        vec![
            ("ask_user", json!({}), "it is missing"),
            ("ask_user", json!({ "questions": [] }), "it is empty"),
            ("ask_user", json!({ "questions": {} }), "it is to be an array"),
            ("ask_user", json!({ "questions": ["Which?"] }), "invalid type"),
            ("ask_user", json!({ "questions": region()["questions"], "more": 1 }), "`more` is no argument"),
            ("ask_user", many("questions", &region()["questions"][0], "question", 11), "10 are allowed"),
            ("ask_user", twice(&region(), "questions"), "given twice"),
            ("ask_user", question(|asked| asked["question"] = json!(" ")), "`question` is empty"),
            ("ask_user", question(|asked| asked["header"] = json!("")), "`header` is empty"),
            ("ask_user", question(|asked| asked["header"] = json!("thirteen char")), "more than 12 characters"),
            (
                "ask_user",
                question(|asked| drop(asked.as_object_mut().expect("an object").remove("header"))),
                "missing field",
            ),
            ("ask_user", question(|asked| asked["options"] = json!([])), "nothing to choose from"),
            ("ask_user", question(|asked| asked["options"] = json!([{ "label": "" }])), "`label` is empty"),
            (
                "ask_user",
                question(|asked| asked["options"] = json!([{ "label": "a" }, { "label": "a " }])),
                "given twice",
            ),
            ("ask_user", question(|asked| asked["options"] = json!(["a"])), "invalid type"),
            (
                "ask_user",
                question(|asked| asked["options"] = (0..21).map(|n| json!({ "label": n.to_string() })).collect()),
                "20 are allowed",
            ),
            ("ask_user", question(|asked| asked["multi_select"] = json!("yes")), "invalid type"),
            ("ask_user", question(|asked| asked["selected_options"] = json!(["eu"])), "leave it out"),
            ("ask_user", question(|asked| asked["selected_options"] = Value::Null), "leave it out"),
            ("ask_user", question(|asked| asked["answer"] = json!("eu")), "unknown field"),
            ("get_user_input", json!({ "user_input_fields": [] }), "it is empty"),
            (
                "get_user_input",
                many("user_input_fields", &fields()["user_input_fields"][0], "field_name", 21),
                "20 are allowed",
            ),
            ("get_user_input", twice(&fields(), "user_input_fields"), "given twice"),
            ("get_user_input", field(|asked| asked["field_name"] = json!("")), "`field_name` is empty"),
            ("get_user_input", field(|asked| asked["field_type"] = json!(7)), "invalid type"),
            ("get_user_input", field(|asked| asked["value"] = json!("Paris")), "leave it out"),
            ("get_user_input", field(|asked| asked["value"] = Value::Null), "leave it out"),
        ]
    }

    #[tokio::test]
    async fn nobody_is_shown_a_form_that_cannot_be_answered() {
        for (call, arguments, why) in wrong_forms() {
            let store = Store::new().await;
            let agent = agent_on(&store, vec![(call, arguments.clone())]).build().unwrap();
            let run = agent.run("go").user_id("alice").await.unwrap();
            assert_eq!(run.status, RunStatus::Completed, "{arguments}");
            assert!(told(&run)[0].contains(why), "{arguments}: {:?}", told(&run));
            assert!(run.requirements.is_empty() && store.count("calls") == 0, "{arguments}");
        }
    }

    /// Keeps what it was told, and plays a script.
    struct Listening {
        script: ScriptedModel,
        heard: Arc<Mutex<Vec<String>>>,
    }

    impl Model for Listening {
        fn id(&self) -> &str {
            "listening"
        }

        fn provider(&self) -> &str {
            "Nobody"
        }

        fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
            let system = request.messages.iter().filter(|message| message.role == Role::System);
            self.heard
                .lock()
                .expect("no one panics with it")
                .extend(system.filter_map(|message| message.content.clone()));
            self.script.respond(request)
        }
    }

    async fn heard(change: impl FnOnce(kern::agent::AgentBuilder) -> kern::agent::AgentBuilder) -> Vec<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let model = Listening { script: ScriptedModel::new([turn().text("ok")]), heard: Arc::clone(&heard) };
        let agent = change(Agent::builder().model(model)).build().expect("the agent is right");
        agent.run("go").await.expect("it ends");
        let heard = heard.lock().expect("no one panics with it");
        heard.clone()
    }

    #[tokio::test]
    async fn the_model_is_told_when_to_ask_unless_it_is_left_out() {
        let both = |agent: kern::agent::AgentBuilder| {
            let agent = agent.instructions("Be brief.").toolkit(UserFeedbackTools::new());
            agent.toolkit(UserControlFlowTools::default())
        };
        let told = heard(both).await;
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("Be brief."), "{}", told[0]);
        assert!(told[0].contains("`ask_user`") && told[0].contains("`get_user_input`"), "{}", told[0]);
        let neither = |agent: kern::agent::AgentBuilder| {
            let agent = agent.toolkit(UserFeedbackTools::new().add_instructions(false));
            agent.toolkit(UserControlFlowTools::new().add_instructions(false))
        };
        assert_eq!(heard(neither).await, NOTHING);
    }
}
