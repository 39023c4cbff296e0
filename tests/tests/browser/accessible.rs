//! Every page against axe-core, light and dark: names, labels, contrast, and what else the rules of WCAG 2.1 A and AA say that
//! a machine can see.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use kern_tests::obedient::asking;
use serde_json::{Value, json};

use super::chromium::{Browser, key};
use super::{Served, looking};

const AXE: &str = "axe-core@4.14.1";

/// The script, which npm fetches once into the folder of the build: nothing of it is kept in the repository.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(AXE);
    let script: PathBuf = folder.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-save",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ]);
        let output = npm.arg(&folder).arg(AXE).output().expect("`npm` is installed, see tests/run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::read_to_string(script).unwrap()
});

/// The rules of WCAG 2.1 A and AA.
const ALL: &str = "{ type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }";
/// Those among them that ask for colours, and so are all that another scheme changes.
const COLOURS: &str = "{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }";

/// What axe finds on a page: the rule, what it is about, and where.
async fn found(browser: &Browser, rules: &str) -> Vec<String> {
    if browser.value("return typeof axe").await == "undefined" {
        browser.value(&SCRIPT).await;
    }
    let script = format!(
        "const done = arguments[0];
         axe.run(document, {{ runOnly: {rules}, resultTypes: ['violations'] }}).then((result) => done({{
           passes: result.passes.length,
           violations: result.violations.flatMap((rule) =>
             rule.nodes.map((node) => `${{rule.id}}: ${{node.html.slice(0, 200)}} (${{node.failureSummary}})`)),
         }}), (error) => done(String(error)))"
    );
    let found = browser.value_later(&script).await;
    assert!(found["passes"].as_u64().is_some_and(|passes| passes > 0), "axe looked at nothing: {found}");
    let violations = found["violations"].as_array().unwrap();
    violations.iter().map(|violation| violation.as_str().unwrap().to_owned()).collect()
}

/// Every page that has been looked at, and what was found on it.
#[derive(Default)]
struct Looked {
    pages: usize,
    found: Vec<String>,
}

impl Looked {
    /// Looks at the page that is open, light and dark.
    async fn at(&mut self, browser: &Browser, page: &str) {
        for (scheme, rules) in [("light", ALL), ("dark", COLOURS)] {
            browser.prefers(scheme).await;
            let found = found(browser, rules).await;
            self.found.extend(found.into_iter().map(|found| format!("{page}, {scheme}: {found}")));
        }
        self.pages += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_breaks_a_rule_that_a_machine_can_see() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    let mut looked = Looked::default();
    for page in ["/panel", "/panel?shown=decided", "/panel/sessions", "/panel/executions", "/panel/audit"] {
        bob.go(page).await;
        looked.at(&bob, &format!("{page}, empty")).await;
    }
    // One of everything: waiting, with odd characters, of two people, approved, rejected, edited, unknown, run, failed.
    let run_id = os
        .asks(
            "all",
            &[
                ("delete_user", json!({ "user_id": "u_1" })),
                ("delete_user", json!({ "user_id": "u_2\u{202e}" })),
                ("close_books", json!({ "year": 2026 })),
                ("pay", json!({ "to": "acme", "cents": 5, "urgent": true, "labels": ["a"] })),
                ("pay", json!({ "to": "acme", "cents": 6, "urgent": true, "labels": [] })),
                ("restart", json!({ "service": "web" })),
            ],
        )
        .await;
    let lost = looking::lost(&os, "axe-lost").await;
    let done = os.asks("done", &[("delete_user", json!({ "user_id": "done" }))]).await;
    let decide = async |row: &Value, mut decision: Value| {
        decision["resolved_by"] = json!("bob");
        let path = format!("/approvals/{}/resolve", row["id"].as_str().unwrap());
        let answer = os.client.json(&path, &decision).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let pending = os.approvals("pending").await;
    let of = |what: &str| pending.iter().find(|row| row["tool_args"].to_string().contains(what)).unwrap();
    decide(of("done"), json!({ "status": "approved", "note": "fine" })).await;
    decide(of("u_1"), json!({ "status": "rejected", "note": "not now" })).await;
    let edited = json!({ "to": "acme", "cents": 1, "urgent": false, "labels": [] });
    decide(of("5"), json!({ "status": "approved", "resolution_data": { "edited_args": edited } })).await;
    let ann = json!({ "status": "approved", "resolved_by": "ann" });
    os.client.json(&format!("/approvals/{}/resolve", of("2026")["id"].as_str().unwrap()), &ann).await;
    os.completed(&done, "done").await;
    let detail = |row: &Value| format!("/panel/approvals/{}", row["id"].as_str().unwrap());
    for page in [
        "/panel".to_owned(),
        "/panel?shown=decided".to_owned(),
        "/panel?shown=all&search=acme".to_owned(),
        "/panel?search=nothing+like+it".to_owned(),
        detail(of("u_1")),
        detail(of("u_2")),
        detail(of("done")),
        detail(of("2026")),
        format!("{}?do=approve", detail(of("2026"))),
        format!("{}?do=reject", detail(of("u_2"))),
        format!("{}?do=edit", detail(of("6"))),
        format!("/panel/runs/{run_id}"),
        format!("/panel/runs/{lost}"),
        format!("/panel/runs/{done}"),
        "/panel/sessions".to_owned(),
        "/panel/sessions/all".to_owned(),
        "/panel/executions".to_owned(),
        "/panel/audit".to_owned(),
        "/panel/chat".to_owned(),
        "/panel/signin".to_owned(),
        "/panel/approvals/none".to_owned(),
    ] {
        bob.go(&page).await;
        looked.at(&bob, &page).await;
    }

    // Pages that are asked for, not opened.
    bob.go("/panel").await;
    bob.press("?").await;
    bob.until("document.querySelector('#help').open").await;
    looked.at(&bob, "the keys").await;
    bob.press(key::ESCAPE).await;
    bob.press("jx").await;
    bob.value("document.querySelector('#offline').hidden = false").await;
    looked.at(&bob, "the inbox with one chosen, and no server").await;
    bob.press("a").await;
    bob.shows("h1", "Approve 1 call?").await;
    looked.at(&bob, "decide").await;
    bob.click("form.ask button").await;
    bob.shows("h1", "What became of each").await;
    looked.at(&bob, "decided").await;
    bob.go("/panel/audit").await;
    bob.click("#verify").await;
    bob.shows("#verified", "Intact").await;
    looked.at(&bob, "a verified log").await;
    bob.go("/panel/chat").await;
    let calls = [("restart", json!({ "service": "web\u{202e}" })), ("delete_user", json!({ "user_id": "u_3" }))];
    bob.write("#message", &asking(&[("restart", json!({ "service": "dns" }))])).await;
    bob.press(key::ENTER).await;
    bob.click("#log button.yes").await;
    bob.shows("#log .agent", "so: restarted dns").await;
    bob.value_of("document.querySelector('#message').value = arguments[0]", [json!(asking(&calls))]).await;
    bob.click("#message").await;
    bob.press(key::ENTER).await;
    bob.shows("#log", "Awaiting approval").await;
    looked.at(&bob, "a chat that waits").await;

    println!("axe: {} pages, {} violations", looked.pages, looked.found.len());
    assert!(looked.found.is_empty(), "{:#?}", looked.found);
    bob.close_after(&["the server responded with a status of 404"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_does_a_page_of_somebody_who_has_signed_in() {
    let (os, [_, _, bob]) = Served::with_keys().await;
    os.asks("known", &[("delete_user", json!({ "user_id": "u_1" }))]).await;
    let browser = os.browser().await;
    let mut looked = Looked::default();
    browser.go("/panel").await;
    browser.write("[name=credential]", "nonsense").await;
    browser.click("form.signin button").await;
    browser.shows(".warning", "does not count here").await;
    looked.at(&browser, "a refused key").await;
    browser.write("[name=credential]", &bob).await;
    browser.click("form.signin button").await;
    browser.arrives("/panel").await;
    looked.at(&browser, "the inbox of somebody known").await;
    // It is not theirs to see.
    browser.go("/panel/sessions").await;
    looked.at(&browser, "a refused page").await;
    assert!(looked.found.is_empty(), "{:#?}", looked.found);
    // It sees what it is to see.
    let wrong = "const dim = document.createElement('p');
        dim.textContent = 'dim';
        dim.style.cssText = 'color: #777; background: #666';
        document.querySelector('main').append(dim, document.createElement('input'))";
    browser.value(wrong).await;
    let seen = found(&browser, ALL).await.join("\n");
    assert!(seen.contains("color-contrast: ") && seen.contains("label: "), "{seen}");
    assert!(found(&browser, COLOURS).await.join("\n").contains("color-contrast: "));
    browser.close_after(&["a status of 401", "a status of 403"]).await;
}
