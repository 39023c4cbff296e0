//! I9, whole: what may not run does not, by any way into an agent, whoever comes, with whatever they bring.

use kern::db::{ApprovalFilter, Db as _};
use kern::prelude::*;
use kern_db::{ApprovalStatus, RunId};
use kern_tests::command::Kern;
use kern_tests::ledger;
use kern_tests::scale::figure;
use kern_tests::store::{Store, one_call};
use kern_tests::tools::{delete_user, erase_user, export_asked, restart};

/// Why a call may not run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Closed {
    Pending,
    Rejected,
    Deleted,
    DeletedWhenApproved,
    Cancelled,
    CancelledWhenApproved,
    RequesterSaidNo,
    /// Its approval is gone from the table.
    Missing,
}

const ALL: [Closed; 8] = [
    Closed::Pending,
    Closed::Rejected,
    Closed::Deleted,
    Closed::DeletedWhenApproved,
    Closed::Cancelled,
    Closed::CancelledWhenApproved,
    Closed::RequesterSaidNo,
    Closed::Missing,
];

/// How somebody tries to get it run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    AsRequester,
    AsSomebodyElse,
    AsNobody,
    /// With requirements that say everything is confirmed, as a client could forge them.
    Forged,
    /// The same, with the approval in them.
    ForgedApproval,
    Worker,
    /// Cancelled, then continued.
    CancelThenContinue,
    AskAgain,
    /// Approved with the command, once more.
    Command,
}

const WAYS: [Way; 9] = [
    Way::AsRequester,
    Way::AsSomebodyElse,
    Way::AsNobody,
    Way::Forged,
    Way::ForgedApproval,
    Way::Worker,
    Way::CancelThenContinue,
    Way::AskAgain,
    Way::Command,
];

async fn close(store: &Store, agent: &Agent, run: &RunOutput, why: Closed) {
    let id = store.approvals(&run.run_id).await[0].id.clone();
    let no = Resolution::rejected().by("admin");
    match why {
        Closed::Pending => {}
        Closed::Rejected => drop(store.db.update_approval(&id, ApprovalStatus::Pending, no).await.unwrap()),
        Closed::Deleted => store.db.delete_approval(&id).await.unwrap(),
        Closed::DeletedWhenApproved => {
            store.approve_all(&run.run_id).await;
            store.db.delete_approval(&id).await.unwrap();
        }
        Closed::Cancelled => drop(agent.cancel_run(&run.run_id).await.unwrap()),
        Closed::CancelledWhenApproved => {
            store.approve_all(&run.run_id).await;
            agent.cancel_run(&run.run_id).await.unwrap();
        }
        Closed::RequesterSaidNo => {
            let mut run = run.clone();
            run.active_requirements_mut().for_each(|requirement| requirement.reject("no").unwrap());
            let continued = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
            // A no to what an administrator decides is final, too.
            drop(continued);
        }
        Closed::Missing => {
            let raw = store.raw();
            kern_tests::steps::drop_triggers(&raw);
            raw.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
            raw.execute("DELETE FROM kern_approvals WHERE run_id = ?", [run.run_id.as_str()]).unwrap();
        }
    }
}

/// What a client can send back: the requirements, with everything in them said to be decided.
fn forged(run: &RunOutput, with_approval: bool) -> Vec<RunRequirement> {
    let mut text = serde_json::to_value(&run.requirements).unwrap();
    for requirement in text.as_array_mut().unwrap() {
        for (field, value) in [("confirmation", json!(true)), ("confirmed", json!(true))] {
            requirement[field] = value;
        }
        requirement["tool_execution"]["confirmed"] = json!(true);
        requirement["tool_execution"]["requires_confirmation"] = json!(false);
        if with_approval {
            requirement["tool_execution"]["approval_id"] = json!("00000000-0000-0000-0000-000000000000");
            requirement["tool_execution"]["approval_type"] = json!("audit");
            requirement["status"] = json!("approved");
        }
    }
    // What cannot even be read is no way in.
    serde_json::from_value(text).unwrap_or_default()
}

async fn attempt(store: &Store, agent: &Agent, run: &RunOutput, way: Way) {
    let run_id: &RunId = &run.run_id;
    match way {
        Way::AsRequester => drop(agent.continue_run(run_id).user_id("alice").await),
        Way::AsSomebodyElse => drop(agent.continue_run(run_id).user_id("mallory").await),
        Way::AsNobody => drop(agent.continue_run(run_id).await),
        Way::Forged | Way::ForgedApproval => {
            for user in ["alice", "mallory", "admin"] {
                let requirements = forged(run, way == Way::ForgedApproval);
                drop(agent.continue_run(run_id).requirements(requirements).user_id(user).await);
            }
        }
        Way::Worker => drop(agent.resume_decided_runs().await),
        Way::CancelThenContinue => {
            drop(agent.cancel_run(run_id).await);
            drop(agent.continue_run(run_id).user_id("alice").await);
        }
        Way::AskAgain => drop(agent.continue_run(run_id).ask_again().user_id("alice").await),
        Way::Command => {
            let kern = Kern::on(store.path());
            let all = store.db.list_approvals(ApprovalFilter::new().run_id(run_id)).await.unwrap().data;
            // Gone from every list, it is not known to the command either.
            let id = all.first().map_or_else(|| "gone".to_owned(), |approval| approval.id.to_string());
            let said = kern.run(&["approvals", "approve", "--yes", "--by", "mallory", &id]);
            assert_ne!(said.code, 0, "{said:?}");
            drop(agent.continue_run(run_id).user_id("alice").await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_may_not_run_does_not_by_any_way_into_an_agent() {
    let mut tried = 0;
    let mut executions = 0;
    for (tool, arguments) in [("delete_user", json!({ "user_id": "u1" })), ("erase_user", json!({ "user_id": "u1" }))] {
        let store = Store::new().await;
        let tools = tools![delete_user, erase_user, restart, export_asked];
        let agent = store.agent(tools, one_call(tool, arguments)).build().unwrap();
        for why in ALL {
            for way in WAYS {
                // A pending call that somebody approves may run.
                if (why, way) == (Closed::Pending, Way::Command) {
                    continue;
                }
                let session = kern_tests::folder::unique("session");
                let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
                close(&store, &agent, &run, why).await;
                for _ in 0..2 {
                    attempt(&store, &agent, &run, way).await;
                }
                // And by everybody after that.
                attempt(&store, &agent, &run, Way::AsRequester).await;
                attempt(&store, &agent, &run, Way::Worker).await;
                let entered = ledger::of(&session);
                assert_eq!(entered, [] as [&str; 0], "{tool} {why:?} by {way:?}");
                executions += entered.len();
                tried += 1;
            }
        }
    }
    figure("closed gates by ways into an agent", tried);
    figure("executions of rejected, pending, deleted, cancelled or missing calls", executions);
}
