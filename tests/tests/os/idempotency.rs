//! A request that is sent twice with one key is done once.

use kern_tests::gates::{SlowModel, gate};
use kern_tests::ledger;
use serde_json::{Value, json};

use super::{Served, ids, script, text};

/// An answer, and whether it was given before.
#[derive(Debug)]
struct Told {
    status: u16,
    replayed: bool,
    body: Value,
}

impl Served {
    async fn keyed(&self, key: &str, path: &str, form: &[(&str, &str)]) -> Told {
        told(self.client.request("POST", path).header("idempotency-key", key).form(form)).await
    }

    async fn keyed_json(&self, key: &str, path: &str, body: &Value) -> Told {
        told(self.client.request("POST", path).header("idempotency-key", key).json(body)).await
    }

    /// How many runs a session has.
    async fn runs(&self, session: &str) -> usize {
        let runs = self.client.get(&format!("/agents/a/runs?session_id={session}")).await;
        runs.body.as_array().unwrap().len()
    }
}

async fn told(request: reqwest::RequestBuilder) -> Told {
    let answer = request.send().await.unwrap();
    let (status, replayed) = (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
    let text = answer.text().await.unwrap();
    Told { status, replayed, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

fn start(session: &str) -> [(&'static str, &str); 4] {
    [("message", "go"), ("stream", "false"), ("session_id", session), ("user_id", "alice")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_asked_for_twice_is_started_once() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let first = os.keyed("k", "/agents/a/runs", &start("twice")).await;
    assert_eq!((first.status, first.replayed, &first.body["status"]), (200, false, &json!("PAUSED")), "{first:?}");
    let second = os.keyed("k", "/agents/a/runs", &start("twice")).await;
    assert_eq!((second.status, second.replayed), (200, true), "{second:?}");
    assert_eq!(second.body, first.body);
    assert_eq!(os.runs("twice").await, 1);
    // Another request needs another key, and another key is another request.
    let other = os.keyed("k", "/agents/a/runs", &start("other")).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")), "{other:?}");
    assert_eq!(os.runs("other").await, 0);
    let another = os.keyed("l", "/agents/a/runs", &start("twice")).await;
    assert_ne!(another.body["run_id"], first.body["run_id"]);
    // A request without a key is what it was.
    os.run("twice").await;
    assert_eq!(os.runs("twice").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_asked_for_twice_is_the_stream_of_one_run() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let form = [("message", "go"), ("session_id", "streams"), ("user_id", "alice")];
    let first = os.keyed("k", "/agents/a/runs", &form).await;
    let second = os.keyed("k", "/agents/a/runs", &form).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert!(text(&first.body).contains("event: RunPaused"), "{first:?}");
    assert_eq!(second.body, first.body, "the same events of the same run");
    assert_eq!(os.runs("streams").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_request_is_worked_on_the_same_one_is_told_so_though_its_client_is_gone() {
    let gate = gate("keyed");
    let os = Served::with(SlowModel::new(script(&[]), 0, gate.clone()), false).await;
    let request = os.client.request("POST", "/agents/a/runs").header("idempotency-key", "k").form(&start("keyed"));
    let asked = tokio::spawn(request.send());
    gate.arrival().await;
    let busy = os.keyed("k", "/agents/a/runs", &start("keyed")).await;
    assert_eq!((busy.status, &busy.body["code"]), (409, &json!("idempotency_key_in_use")), "{busy:?}");
    asked.abort();
    gate.open();
    for _ in 0..600 {
        let told = os.keyed("k", "/agents/a/runs", &start("keyed")).await;
        if told.status == 200 {
            assert_eq!((told.replayed, &told.body["status"]), (true, &json!("COMPLETED")), "{told:?}");
            assert_eq!(os.runs("keyed").await, 1);
            return;
        }
        assert_eq!(told.status, 409, "{told:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the answer was not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_is_sent_twice_gets_the_first_answer_and_a_refusal_stays_one() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "keyed-decision" }))]).await;
    let (run_id, approval_id) = ids(&os.run("keyed-decision").await);
    let path = format!("/approvals/{approval_id}/resolve");
    let own = json!({ "status": "approved", "resolved_by": "alice" });
    for replayed in [false, true] {
        let told = os.keyed_json("own", &path, &own).await;
        assert_eq!(
            (told.status, told.replayed, &told.body["code"]),
            (403, replayed, &json!("not_permitted")),
            "{told:?}"
        );
    }
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let first = os.keyed_json("yes", &path, &yes).await;
    let second = os.keyed_json("yes", &path, &yes).await;
    assert_eq!(
        (first.status, first.replayed, second.status, second.replayed),
        (200, false, 200, true),
        "{first:?} {second:?}"
    );
    assert_eq!(first.body, second.body);
    let late = os.keyed_json("late", &path, &yes).await;
    assert_eq!((late.status, &late.body["code"]), (409, &json!("conflict")), "{late:?}");
    // Continued twice, it runs once, and the second one is told of the first.
    let form = [("stream", "false"), ("session_id", "keyed-decision"), ("user_id", "alice")];
    let path = format!("/agents/a/runs/{run_id}/continue");
    let [first, second] = [os.keyed("go", &path, &form).await, os.keyed("go", &path, &form).await];
    assert_eq!((first.status, second.status, second.replayed), (200, 200, true), "{first:?} {second:?}");
    assert_eq!(first.body, second.body);
    assert_eq!(ledger::of("keyed-decision"), ["delete keyed-decision"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuation_that_was_interrupted_is_not_tried_again_for_what_is_asked_next() {
    // Two calls that their requester confirms, one after another.
    let turn = kern::models::turn;
    let call = |name: &str| turn().raw_tool_call(Some(name), "erase_user", json!({ "user_id": name }).to_string());
    let model = kern::models::ScriptedModel::new([call("one"), call("two"), turn().text("done")]);
    let os = Served::with(model, false).await;
    let run = os.run("interrupted").await;
    let (run_id, approval_id) = ids(&run);
    assert_eq!(os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await.status, 200);
    let form = [("session_id", "interrupted"), ("user_id", "alice")];
    let path = format!("/agents/a/runs/{run_id}/continue");
    // The answer is a stream, of which none is kept.
    let first = os.keyed("go", &path, &form).await;
    assert!(text(&first.body).contains("RunPaused"), "{first:?}");
    let before = os.client.get(&format!("/agents/a/runs/{run_id}?session_id=interrupted")).await.body;
    let second = os.keyed("go", &path, &form).await;
    assert!(second.status == 200 && text(&second.body).contains("RunPaused"), "{second:?}");
    let after = os.client.get(&format!("/agents/a/runs/{run_id}?session_id=interrupted")).await.body;
    assert_eq!(after["requirements"], before["requirements"], "nobody has confirmed the second call");
    assert_eq!(ledger::of("interrupted"), ["erase one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_none_is_said_and_keys_of_two_people_are_two() {
    let os = Served::new(&[]).await;
    let refused = os.keyed("a b", "/agents/a/runs", &start("none")).await;
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("invalid")), "{refused:?}");
    assert_eq!(refused.body["detail"][0]["loc"], json!(["header", "Idempotency-Key"]));
    let (ann, bob) = (os.known("ann", &["agents:run"]).await, os.known("bob", &["agents:run"]).await);
    let mut runs = Vec::new();
    for (client, session) in [(&ann, "anns"), (&bob, "bobs"), (&ann, "anns")] {
        let form = [("message", "go"), ("stream", "false"), ("session_id", session)];
        let answer = told(client.request("POST", "/agents/a/runs").header("idempotency-key", "k").form(&form)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        runs.push(text(&answer.body["run_id"]));
    }
    assert_ne!(runs[0], runs[1]);
    assert_eq!(runs[0], runs[2]);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_retry_whose_run_exists_returns_that_run_once_the_claim_has_ended() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let first = os.keyed("lost", "/agents/a/runs", &start("lost")).await;
    assert_eq!((first.status, &first.body["status"]), (200, &json!("PAUSED")), "{first:?}");
    // As if the server was killed between the run's pause and its answer.
    let unanswered = "UPDATE kern_requests SET status = NULL, content_type = NULL, body = NULL, lease_until_ms = created_at_ms + 30000";
    let file = os.store.raw();
    assert_eq!(file.execute(unanswered, []).unwrap(), 1);
    drop(file);
    // On one thread, the server's calls have the clock of this test.
    for (ahead_ms, status) in [(0, 409), (28_000, 409), (31_000, 200)] {
        kern_db::clock::set_ahead_ms(ahead_ms);
        let again = os.keyed("lost", "/agents/a/runs", &start("lost")).await;
        assert_eq!((again.status, again.replayed), (status, false), "{ahead_ms} ms later: {again:?}");
        if status == 200 {
            assert_eq!(again.body["run_id"], first.body["run_id"]);
        }
    }
    assert_eq!(os.runs("lost").await, 1);
    kern_db::clock::set_ahead_ms(0);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn the_claim_of_a_request_that_is_worked_on_is_renewed() {
    let gate = gate("renewed");
    let os = Served::with(SlowModel::new(script(&[]), 0, gate.clone()), false).await;
    let request = os.client.request("POST", "/agents/a/runs").header("idempotency-key", "k").form(&start("renewed"));
    let asked = tokio::spawn(request.send());
    gate.arrival().await;
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    // 12 and 22 seconds: the claim would have ended after 30, had it not been renewed after 10.
    kern_db::clock::set_ahead_ms(22_000);
    let busy = os.keyed("k", "/agents/a/runs", &start("renewed")).await;
    assert_eq!((busy.status, &busy.body["code"]), (409, &json!("idempotency_key_in_use")), "{busy:?}");
    kern_db::clock::set_ahead_ms(0);
    gate.open();
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    assert_eq!(os.runs("renewed").await, 1);
}
