//! What a model, or whoever talks to it, wrote to be believed or executed.

use kern_tests::obedient::asking;
use serde_json::json;

use super::Served;
use super::chromium::{Browser, key};

/// Characters that pretend, and the numbers that they are shown as.
const UNSEEN: &[(char, &str)] =
    &[('\u{202e}', "202e"), ('\u{2066}', "2066"), ('\u{200b}', "200b"), ('\u{feff}', "feff"), ('\u{1b}', "1b")];

/// Markup that would do something, and text that looks like other text.
fn hostile() -> String {
    let unseen: String = UNSEEN.iter().map(|(character, _)| *character).collect();
    format!(
        "<script>window.hacked = 1; alert(1)</script><img src=x onerror=\"alert(2)\"><img src=//evil.example/pixel>\
         <svg onload=alert(3)><iframe src=https://evil.example></iframe><style>* {{ display: none }}</style>\
         </pre></textarea><base href=//evil.example><form action=//evil.example><input></form>\
         <a href=\"javascript:alert(4)\">[x](javascript:alert(5))</a>' \" autofocus onfocus=alert(6) {unseen}[31mred p\u{430}ypal"
    )
}

/// Nothing of it has become part of the page, or done anything.
async fn is_inert(browser: &Browser, page: &str) {
    // A dialog fails whatever the driver is asked next, this included.
    let found = browser
        .value(
            "const own = new Set(['/panel/panel.js']);
             return [
               window.hacked,
               ...[...document.querySelectorAll('script')].filter((made) => !own.has(made.getAttribute('src'))),
               ...document.querySelectorAll('img, svg, iframe, object, embed, style, base, body link, [style]'),
               ...[...document.querySelectorAll('*')].filter((made) => made.getAttributeNames().some((name) => name.startsWith('on'))),
               ...[...document.querySelectorAll('[href], [action], [src]')].filter((made) =>
                 new URL(made.getAttribute('href') ?? made.getAttribute('action') ?? made.getAttribute('src'), location.href).origin !== location.origin),
             ].filter(Boolean).map((made) => made.outerHTML ?? String(made))",
        )
        .await;
    assert_eq!(found, json!([]), "{page}");
}

/// All of it is there as text, with what cannot be seen as its number, and somebody is told so.
async fn is_whole(browser: &Browser, page: &str, long: &str) {
    // Also where it is not unfolded, and in fields.
    let text = browser
        .value("return document.querySelector('main').textContent + [...document.querySelectorAll('textarea')].map((field) => field.value).join()")
        .await;
    let text = text.as_str().unwrap();
    assert!(text.contains("<script>window.hacked = 1; alert(1)</script>"), "{page}: {:.2000}", text);
    assert!(text.contains(long), "{page}: it is cut off");
    for (character, number) in UNSEEN {
        assert!(!text.contains(*character), "{page}: {number} is there, and not seen");
        assert!(text.to_lowercase().contains(number), "{page}: nothing of {number}");
    }
}

/// Sends a message that would take long to type.
async fn say(browser: &Browser, message: &str) {
    browser.value_of("document.querySelector('#message').value = arguments[0]", [json!(message)]).await;
    browser.click("#message").await;
    browser.press(key::ENTER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hostile_is_inert_flagged_and_in_full() {
    let os = Served::new().await;
    // The arguments of a call have at most 64 KiB, as JSON.
    let long = "0123456789abcdef".repeat(3800);
    let asked = [("delete_user", json!({ "user_id": format!("{}{long}", hostile()) }))];
    let message = asking(&asked);
    let (session, user) = ("\"><img src=x onerror=alert(7)>", "<b onmouseover=alert(8)>mallory\u{202e}");
    let fields = [("message", &*message), ("stream", "false"), ("session_id", session), ("user_id", user)];
    let run = os.client.form("/agents/a/runs", &fields).await;
    assert_eq!(run.body["status"], "PAUSED", "{:.2000}", run.body.to_string());
    let approval = os.approvals("pending").await.remove(0);
    let bob = os.browser_of("bob").await;
    let detail = format!("/panel/approvals/{}", approval["id"].as_str().unwrap());
    let run_path = format!("/panel/runs/{}", run.body["run_id"].as_str().unwrap());

    for page in ["/panel", "/panel?shown=all", &*detail, &*format!("{detail}?do=approve"), &*run_path] {
        bob.go(page).await;
        bob.until("document.querySelector('main').textContent.includes('evil.example')").await;
        is_inert(&bob, page).await;
        is_whole(&bob, page, &long).await;
        let is_list = page.starts_with("/panel?") || page == "/panel";
        bob.shows(".warning", if is_list { "odd characters" } else { "shown as its number" }).await;
    }
    bob.go(&detail).await;
    let warnings = bob.value("return [...document.querySelectorAll('.warning')].map((p) => p.innerText).join()").await;
    for what in
        ["change the direction of the text", "invisible characters", "control character", "looks like another one"]
    {
        assert!(warnings.as_str().unwrap().contains(what), "{warnings}");
    }
    bob.go("/panel").await;
    bob.press("jx").await;
    bob.press("r").await;
    bob.shows("h1", "Reject 1 call?").await;
    is_inert(&bob, "decide").await;
    is_whole(&bob, "decide", &long).await;
    for page in [&*format!("{detail}?do=edit"), "/panel/sessions", "/panel/audit", "/panel/executions"] {
        bob.go(page).await;
        is_inert(&bob, page).await;
    }
    bob.go("/panel/sessions").await;
    bob.click(".row .open").await;
    bob.shows("h1", "Session").await;
    is_inert(&bob, "session").await;
    is_whole(&bob, "session", &long).await;

    // What the script of the chat makes is held to the same.
    bob.go("/panel/chat").await;
    say(&bob, &message).await;
    bob.shows("#log", "Awaiting approval").await;
    is_inert(&bob, "chat").await;
    is_whole(&bob, "chat", &long).await;
    bob.shows("#log", "It has characters that cannot be seen").await;
    bob.shows("#log", "It has letters that look like others").await;

    // So is a question with its options.
    let option = json!({ "label": hostile(), "description": hostile() });
    let question = json!({ "question": hostile(), "header": "<b>\u{202e}", "options": [option, { "label": "no" }], "multi_select": false });
    say(&bob, &asking(&[("ask_user", json!({ "questions": [question] }))])).await;
    bob.until("document.querySelector('#log fieldset')").await;
    is_inert(&bob, "a question").await;
    is_whole(&bob, "a question", "").await;
    bob.close().await;
}
