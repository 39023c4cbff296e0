//! API keys on the command line: made, shown once, listed, revoked.

use kern_db::KeyLookup;
use kern_tests::command::Kern;
use kern_tests::steps::Store;
use serde_json::json;

#[tokio::test]
async fn a_key_is_shown_once_and_the_store_has_a_hash_of_it() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let none = kern.run(&["keys", "list"]);
    assert_eq!(none.out, "there is no key. `kern keys create NAME --scopes …` makes one.\n");
    let words =
        ["keys", "create", "ann", "--scopes", "approvals:read,agents:*:run", "--expires", "90d", "--by", "root"];
    let said = kern.run(&words);
    assert_eq!(said.code, 0, "{said:?}");
    let key = said.out.trim_end();
    let secret = key.rsplit('_').next().unwrap();
    assert!(key.starts_with("kern_") && secret.len() == 64 && said.out.lines().count() == 1, "{said:?}");
    assert!(said.error.contains("of ann, expires ") && said.error.contains("shown this once"), "{said:?}");
    assert!(!said.error.contains(secret), "{said:?}");

    let listed = kern.json(&["keys", "list"]);
    assert!(!listed.out.contains(secret), "{listed:?}");
    let listed = listed.json();
    let row = &listed["data"][0];
    assert_eq!((&row["subject"], &row["scopes"]), (&json!("ann"), &json!(["agents:run", "approvals:read"])));
    assert_eq!(row["created_by"]["subject"], "root");
    let days = row["expires_at_ms"].as_i64().unwrap() - row["created_at_ms"].as_i64().unwrap();
    assert_eq!(days, 90 * 86_400_000);
    let shown = kern.run(&["keys", "list"]).out;
    for word in ["ID", "SUBJECT", "ann", "agents:run, approvals:read", "expires ", "root (unverified)"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert!(!shown.contains(secret) && !kern_tests::steps::dump(&store.raw()).contains(secret));
    let entries = store.audit().entries(0, 10).await.unwrap();
    let made: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.actor.to_string())).collect();
    assert_eq!(made[1..], [("key_made", "root (unverified)".to_owned())], "after the first entry of the chain");
    kern_tests::history::check(&*store).await;
}

#[tokio::test]
async fn a_key_without_an_end_says_so_and_json_holds_the_whole_key() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let made = kern.json(&["keys", "create", "robot", "--scopes", "agent_os:admin"]).json();
    assert_eq!((&made["expires_at_ms"], &made["scopes"]), (&json!(null), &json!(["agent_os:admin"])));
    let id = made["id"].as_str().unwrap();
    assert!(made["key"].as_str().unwrap().starts_with(&format!("kern_{id}_")));
    assert!(kern.run(&["keys", "list"]).out.contains("does not expire"));
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused_and_nothing_is_made() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    for (words, code) in [
        (&["keys", "create", "ann"][..], "usage"),
        (&["keys", "create", "--scopes", "audit:read"], "usage"),
        (&["keys", "create", "ann", "--scopes", ""], "unknown_scope"),
        (&["keys", "create", "ann", "--scopes", "audit:raed"], "unknown_scope"),
        (&["keys", "create", "ann", "--scopes", "audit:read,everything"], "unknown_scope"),
        (&["keys", "create", "ann", "--scopes", "audit:read,*"], "unknown_scope"),
        (&["keys", "create", "ann", "--scopes", "audit:read", "--expires", "0d"], "usage"),
        (&["keys", "create", "ann", "--scopes", "audit:read", "--expires", "-1d"], "usage"),
        (&["keys", "create", "ann", "--scopes", "audit:read", "--expires", "soon"], "usage"),
        (&["keys", "create", "ann", "--scopes", "audit:read", "--expires", "99999999999999d"], "usage"),
        (&["keys", "create", " ", "--scopes", "audit:read"], "invalid"),
        (&["keys", "create", "a\u{202e}nn", "--scopes", "audit:read"], "invalid"),
        (&["keys", "create", "ann", "--scopes", "audit:read", "--by", ""], "invalid"),
        (&["keys", "revoke", "0123456789abcdef"], "no_terminal"),
    ] {
        let said = kern.json(words);
        assert_eq!((said.code, said.error_code().as_str(), said.out.as_str()), (2, code, ""), "{words:?}: {said:?}");
    }
    let said = kern.run(&["keys", "create", "ann", "--scopes", "audit:raed"]);
    assert!(said.error.contains("`audit:raed`") && said.error.contains("audit:read"), "{said:?}");
    assert_eq!(store.list_keys().await.unwrap(), []);
}

#[tokio::test]
async fn a_revoked_key_stays_on_the_list_and_revoking_again_changes_nothing() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let made = kern.json(&["keys", "create", "ann", "--scopes", "audit:read"]).json();
    let id = made["id"].as_str().unwrap();
    let said = kern.run(&["keys", "revoke", id, "--yes", "--by", "root"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""));
    assert_eq!(said.out, format!("revoked key {id} of ann, by root (unverified)\n"));
    let again = kern.json(&["keys", "revoke", id, "--yes", "--by", "eve"]).json();
    assert_eq!(again["revoked_by"]["subject"], "root", "the first word counts");
    assert!(kern.run(&["keys", "list"]).out.contains("revoked "));
    let KeyLookup::Found(found) = store.find_key(id.to_owned()).await.unwrap() else { panic!("it is there") };
    assert!(found.is_revoked);
    let unknown = kern.json(&["keys", "revoke", "0123456789abcdef", "--yes"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (1, "not_found"));
    kern_tests::history::check(&*store).await;
}
