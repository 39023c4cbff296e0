//! Who somebody is, and several of them.

use serde_json::json;

use super::chromium::Browser;
use super::{Served, ran};

async fn sign_in(browser: &Browser, key: &str) {
    browser.write("[name=credential]", key).await;
    browser.click("form.signin button").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_in_decides_under_the_name_of_their_key() {
    let (os, [_, ann, _]) = Served::with_keys().await;
    os.asks("signed", &[("delete_user", json!({ "user_id": "u_9" }))]).await;
    let browser = os.browser().await;
    browser.go("/panel?shown=all").await;
    browser.arrives("/panel/signin?next=%2Fpanel%3Fshown%3Dall").await;
    let mut wrong = ann.clone();
    wrong.replace_range(wrong.len() - 4.., "0000");
    sign_in(&browser, &wrong).await;
    browser.shows(".warning", "does not count here").await;
    assert_eq!(browser.value("return document.querySelector('[name=credential]').value").await, json!(""));
    browser.go("/panel").await;
    browser.arrives("/panel/signin?next=%2Fpanel").await;
    browser.go("/panel/signin?next=%2Fpanel%3Fshown%3Dall").await;
    sign_in(&browser, &ann).await;
    browser.arrives("/panel?shown=all").await;
    browser.shows(".who", "ann").await;
    assert_eq!(browser.value("return document.cookie").await, json!(""), "no script reads it");
    assert_eq!(browser.count("#name").await, 0, "nobody asks for a name that is known");
    // She has no scope for it.
    assert!(!browser.text("header").await.contains("Audit log"));
    browser.click(".row .open").await;
    browser.click("[data-key=a]").await;
    browser.click("form.ask button.yes").await;
    browser.shows(".facts", "by ann").await;
    browser.shows(".facts", "deleted u_9").await;
    assert!(!browser.text(".facts").await.contains("unverified"));
    let row = &os.approvals("approved").await[0];
    assert_eq!((&row["resolved_by"], &row["resolved_by_verified"]), (&json!("ann"), &json!(true)));
    assert_eq!(ran("signed"), ["delete u_9"]);
    browser.click(".who button").await;
    browser.until("location.pathname === '/panel/signin'").await;
    browser.go("/panel").await;
    browser.arrives("/panel/signin?next=%2Fpanel").await;
    browser.close_after(&["the server responded with a status of 401"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_in_two_browsers_decide_together() {
    let (os, [_, ann, bob]) = Served::with_keys().await;
    let (anns, bobs) = (os.browser().await, os.browser().await);
    for (browser, key) in [(&anns, &ann), (&bobs, &bob)] {
        browser.go("/panel").await;
        sign_in(browser, key).await;
        browser.arrives("/panel").await;
    }
    let run_id = os.asks("quorum", &[("close_books", json!({ "year": 2026 }))]).await;
    for browser in [&anns, &bobs] {
        browser.shows(".row", "0 of 2 said yes").await;
    }
    anns.click(".row .open").await;
    anns.shows(".facts", "the pool finance, 2 people").await;
    anns.click("[data-key=a]").await;
    anns.write("[name=note]", "all is booked").await;
    anns.click("form.ask button.yes").await;
    anns.shows("#live", "Who said yes").await;
    bobs.shows(".row", "1 of 2 said yes").await;
    assert_eq!(ran("quorum"), [""; 0]);
    assert_eq!(os.approvals("pending").await.len(), 1);
    bobs.click(".row .open").await;
    bobs.shows("#live", "ann").await;
    bobs.click("[data-key=a]").await;
    bobs.click("form.ask button.yes").await;
    // Both see the end, hers by itself.
    for browser in [&bobs, &anns] {
        browser.shows(".facts", "closed 2026").await;
        let voters = browser.text("#live ul").await;
        assert!(voters.contains("ann") && voters.contains("bob"), "{voters}");
    }
    os.completed(&run_id, "quorum").await;
    assert_eq!(ran("quorum"), ["close 2026"]);
    let row = &os.approvals("approved").await[0];
    assert_eq!(row["votes"].as_array().map(Vec::len), Some(2), "{row}");
    anns.close().await;
    bobs.close().await;
}
