//! `kern doctor`: what is checked, and how it ends.

use kern_tests::command::Kern;
use kern_tests::steps::Store;
use serde_json::Value;

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_sound_store_passes_every_check_and_a_schema_that_does_not_fit_is_named_with_the_way_out() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let said = kern.run(&["doctor"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    let said = kern.run(&["doctor", "--json"]);
    let checks = lines(&said.out);
    let names: Vec<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!((said.code, names), (0, vec!["schema", "clock", "mark"]), "{said:?}");
    assert!(checks.iter().all(|check| check["code"] == "ok" && check["action"].is_null()), "{said:?}");

    store.raw().execute("INSERT INTO kern_migrations VALUES (99, 'later', 'x', 0)", ()).unwrap();
    let said = kern.run(&["doctor", "--json"]);
    let checks = lines(&said.out);
    assert_eq!((said.code, checks.len(), &checks[0]["code"]), (1, 1, &Value::from("store_newer")), "{said:?}");
    assert!(checks[0]["action"].as_str().is_some_and(|action| action.contains("a newer one")), "{said:?}");
}

#[test]
fn a_store_that_cannot_be_looked_at_is_no_finding() {
    let said = Kern::on("sqlite:/nowhere/at/all.db").run(&["doctor"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert_eq!(Kern::on_nothing().run(&["doctor"]).code, 2);
}
