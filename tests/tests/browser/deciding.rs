//! Deciding in the inbox.

use serde_json::json;

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
