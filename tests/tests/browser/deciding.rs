//! Deciding in the inbox.

use serde_json::{Value, json};

use super::chromium::{Browser, key};
use super::{Served, ran};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_request_appears_by_itself_and_goes_on_once_it_is_approved() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    bob.shows("#live", "Nothing waits for anybody.").await;
    // A page that is loaded again loses this.
    bob.value("window.here = true").await;
    let run_id = os.asks("appears", &[("delete_user", json!({ "user_id": "u_42" }))]).await;
    bob.until("document.querySelectorAll('.row').length === 1").await;
    assert_eq!(bob.value("return window.here").await, json!(true), "nobody has loaded it again");
    bob.until("document.title.startsWith('(1) ')").await;
    let row = bob.text(".row").await;
    assert!(row.contains("delete_user") && row.contains("u_42") && row.contains("Agent A for alice"), "{row}");
    assert_eq!(ran("appears"), [""; 0]);
    bob.click(".row .open").await;
    bob.shows("h1", "delete_user").await;
    bob.click("[data-key=a]").await;
    bob.shows("main", "Approve this call, with these arguments?").await;
    assert_eq!(bob.value("return document.querySelector('[name=resolved_by]').value").await, json!("bob"));
    bob.click("form.ask button.yes").await;
    bob.shows(".facts", "by bob unverified").await;
    // It follows the call, too.
    bob.shows(".facts", "deleted u_42").await;
    assert_eq!(ran("appears"), ["delete u_42"]);
    let row = &os.approvals("approved").await[0];
    assert_eq!((&row["resolved_by"], &row["resolved_by_verified"]), (&json!("bob"), &json!(false)));
    os.completed(&run_id, "appears").await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_has_its_reason_and_the_agent_is_told() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    let run_id = os.asks("rejected", &[("delete_user", json!({ "user_id": "u_42" }))]).await;
    bob.click(".row .open").await;
    bob.click("[data-key=r]").await;
    bob.shows("form.ask", "The agent is told.").await;
    bob.write("[name=note]", "she is still a customer").await;
    bob.click("form.ask button.no").await;
    bob.shows(".facts", "she is still a customer").await;
    assert!(bob.text(".facts").await.contains("by bob"));
    assert_eq!(bob.count("[data-key]").await, 0, "there is nothing to decide any more");
    let run = os.completed(&run_id, "rejected").await;
    assert!(run["content"].as_str().unwrap().contains("she is still a customer"), "{run}");
    assert_eq!(ran("rejected"), [""; 0]);
    assert_eq!(os.approvals("rejected").await[0]["resolved_by"], "bob");
    bob.go("/panel?shown=decided").await;
    let row = bob.text(".row").await;
    assert!(row.contains("rejected") && row.contains("she is still a customer"), "{row}");
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_edited_in_the_form_is_what_runs() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    let asked = json!({ "to": "acme", "cents": 50_000, "urgent": true, "labels": ["a", "b"] });
    let run_id = os.asks("edited", &[("pay", asked)]).await;
    bob.click(".row .open").await;
    bob.click("[data-key=e]").await;
    bob.shows("form.ask", "What you approve is what you wrote here").await;
    bob.write("[name='argument.to']", "acme \"of\" Ulm\nHafengasse").await;
    bob.write("[name='argument.cents']", "5").await;
    bob.click("[name='argument.urgent'] option:not([selected])").await;
    bob.write("[name='argument.labels']", "[\"only one\"]").await;
    bob.write("[name=note]", "not all of it").await;
    bob.click("form.ask button.yes").await;
    bob.shows(".facts", "paid 5 to acme").await;
    let edited = "pay acme \"of\" Ulm\nHafengasse 5 false [\"only one\"]";
    assert_eq!(ran("edited"), [edited]);
    let facts = bob.text(".facts").await;
    assert!(facts.contains("Edited by\nbob") && facts.contains("not all of it"), "{facts}");
    let row = &os.approvals("approved").await[0];
    assert_eq!(row["tool_args"]["cents"], 5, "{row}");
    os.completed(&run_id, "edited").await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_are_decided_at_once_with_each_ones_arguments_in_sight() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    let calls: Vec<_> = (0..21).map(|number| ("delete_user", json!({ "user_id": format!("u_{number:02}") }))).collect();
    let run_id = os.asks("twenty", &calls).await;
    bob.until("document.querySelectorAll('.row').length === 21").await;
    // The last one does not end behind the bar with the buttons.
    bob.press("k").await;
    bob.shows(".row.here", "u_00").await;
    let on_top = "(at => document.elementFromPoint(at.x + 1, at.y + at.height / 2)?.closest('.row.here'))";
    bob.until(&format!("{on_top}(document.querySelector('.row.here .open').getBoundingClientRect())")).await;
    for number in 0..20 {
        let row = bob.value_of("return [...document.querySelectorAll('.row')].findIndex((row) => row.innerText.includes(arguments[0])) + 1", [json!(format!("u_{number:02}"))]).await;
        bob.click(&format!(".row:nth-child({row}) input")).await;
    }
    assert_eq!(bob.count(".row input:checked").await, 20);
    bob.click("#actions [value=approved]").await;
    bob.shows("h1", "Approve 20 calls?").await;
    let cards = bob.text("form.ask").await;
    assert!((0..20).all(|number| cards.contains(&format!("u_{number:02}"))) && !cards.contains("u_20"), "{cards}");
    assert_eq!(os.approvals("pending").await.len(), 21, "asking decides nothing");
    bob.click("form.ask button.yes").await;
    bob.shows("h1", "What became of each").await;
    assert_eq!(bob.count(".outcomes li").await, 20);
    let outcomes = bob.text(".outcomes").await;
    assert!(!outcomes.contains("not decided") && outcomes.matches("approved").count() == 20, "{outcomes}");
    assert_eq!(os.approvals("approved").await.len(), 20);
    bob.go("/panel").await;
    assert_eq!(bob.count(".row").await, 1, "the one that was left out");
    bob.click(".row input").await;
    bob.click("#actions [value=rejected]").await;
    bob.click("form.ask button.no").await;
    bob.shows(".outcomes", "rejected").await;
    os.completed(&run_id, "twenty").await;
    let mut deleted = ran("twenty");
    deleted.sort();
    assert_eq!(deleted, (0..20).map(|number| format!("delete u_{number:02}")).collect::<Vec<_>>());
    bob.close().await;
}

/// Goes on with Tab, as somebody without a mouse does, until an element has the focus.
async fn tab_to(browser: &Browser, selector: &str) {
    let is_there = format!("return document.activeElement?.matches({})", json!(selector));
    for _ in 0..60 {
        if browser.value(&is_there).await == Value::Bool(true) {
            return;
        }
        browser.press(key::TAB).await;
    }
    panic!("Tab does not reach {selector}");
}

async fn focused(browser: &Browser, selector: &str) {
    browser.until(&format!("document.activeElement?.matches({})", json!(selector))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_decided_without_a_mouse() {
    let os = Served::new().await;
    for user in ["u_1", "u_2", "u_3", "u_4"] {
        os.asks(&format!("keys-{user}"), &[("delete_user", json!({ "user_id": user }))]).await;
    }
    let bob = os.browser().await;
    bob.go("/panel").await;
    bob.press(key::TAB).await;
    focused(&bob, "a.skip").await;
    tab_to(&bob, "#name").await;
    bob.press("bob").await;
    bob.press(key::ESCAPE).await;

    bob.press("?").await;
    bob.until("document.querySelector('#help').open").await;
    // Behind the keys that it shows nothing moves.
    bob.press("j").await;
    assert_eq!(bob.count(".row.here").await, 0);
    bob.press(key::ESCAPE).await;
    bob.until("!document.querySelector('#help').open").await;

    // The newest comes first.
    let here = async |user: &str| bob.shows(".row.here", user).await;
    bob.press("j").await;
    here("u_4").await;
    bob.press("jj").await;
    here("u_2").await;
    bob.press("k").await;
    here("u_3").await;
    focused(&bob, ".row.here .open").await;
    // What comes in between takes neither the place nor the focus away.
    os.asks("keys-u_5", &[("delete_user", json!({ "user_id": "u_5" }))]).await;
    bob.until("document.querySelectorAll('.row').length === 5").await;
    here("u_3").await;
    focused(&bob, ".row.here .open").await;
    bob.press("x").await;
    bob.press("j").await;
    bob.press("x").await;
    assert_eq!(bob.count(".row input:checked").await, 2);

    bob.press("a").await;
    bob.shows("h1", "Approve 2 calls?").await;
    focused(&bob, "form.ask button.yes").await;
    bob.press(key::ENTER).await;
    bob.shows("h1", "What became of each").await;
    assert_eq!(os.approvals("approved").await.len(), 2);
    tab_to(&bob, "main p a[href='/panel']").await;
    bob.press(key::ENTER).await;
    bob.arrives("/panel").await;

    bob.press("k").await;
    here("u_1").await;
    bob.press("r").await;
    bob.shows("h1", "Reject 1 call?").await;
    focused(&bob, "textarea[name=note]").await;
    bob.press("no, jokes are not for keys").await;
    tab_to(&bob, "form.ask button.no").await;
    bob.press(key::ENTER).await;
    bob.shows(".outcomes", "rejected").await;
    let rejected = &os.approvals("rejected").await[0];
    assert_eq!((&rejected["tool_args"]["user_id"], &rejected["resolved_by"]), (&json!("u_1"), &json!("bob")));

    bob.go("/panel").await;
    bob.press("/").await;
    focused(&bob, "#search").await;
    bob.press(&format!("u_4{}", key::ENTER)).await;
    bob.arrives("/panel?shown=waiting&search=u_4").await;
    bob.press("j").await;
    here("u_4").await;
    bob.press(key::ENTER).await;
    bob.shows("h1", "delete_user").await;
    bob.press("e").await;
    bob.shows("form.ask", "What you approve is what you wrote here").await;
    tab_to(&bob, "[name='argument.user_id']").await;
    bob.choose_all().await;
    bob.press("u_44").await;
    tab_to(&bob, "form.ask button.yes").await;
    bob.press(key::ENTER).await;
    bob.shows(".facts", "deleted u_44").await;
    assert_eq!(ran("keys-u_4"), ["delete u_44"]);
    bob.press("a").await;

    // An approval alone has the same keys.
    bob.go("/panel").await;
    bob.press("j").await;
    here("u_5").await;
    bob.press(key::ENTER).await;
    bob.shows("h1", "delete_user").await;
    bob.press("a").await;
    focused(&bob, "form.ask button.yes").await;
    bob.press(key::ENTER).await;
    bob.shows(".facts", "deleted u_5").await;
    assert!(os.approvals("pending").await.is_empty());
    bob.close().await;
}
