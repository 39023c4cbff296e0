//! What the macros say at compile time, and what must stay legal. `TRYBUILD=overwrite` writes new expectations: read
//! each of them as a user would before it is committed.

#[test]
fn messages_say_what_to_write_instead() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
}

#[test]
fn what_must_stay_legal_compiles_and_runs() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
}
