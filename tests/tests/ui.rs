//! What the macros say at compile time, and what must stay legal. `TRYBUILD=overwrite` writes new expectations: read
//! each of them as a user would before it is committed.

/// One list of cases: with two, every dependency would be built twice, once to be checked and once to be run.
#[test]
fn messages_say_what_to_write_instead_and_what_must_stay_legal_compiles_and_runs() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
    cases.pass("ui/pass/*.rs");
}
