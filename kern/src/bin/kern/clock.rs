//! `kern clock`: how the store's time stands to its clock, and setting it back.

use kern::db::{Db, Principal, StoreClock};
use serde_json::json;

use crate::arguments::Clock;
use crate::decide::check_name;
use crate::failure::{Answer, Failure, Outcome};
use crate::output::Output;

pub(crate) async fn clock(output: &mut Output, db: &dyn Db, asked: Clock, json: bool) -> Outcome {
    let found = db.clock().await?;
    let (true, Some(by), Some(note)) = (asked.reset, asked.by, asked.note) else {
        show(output, found, json)?;
        return Ok(Answer::Done);
    };
    check_name(&by)?;
    // Everything that waits would be closed for nothing. Two clocks of one machine differ by milliseconds.
    if found.ahead_ms() < 1_000 {
        let message = "the store's time is not ahead of its clock: there is nothing to set back";
        return Err(Failure::no("clock_not_ahead", message));
    }
    let reset = db.reset_clock(Principal::unverified(&by), note).await?;
    show(output, reset, json).map_err(|failure| failure.after("the store's time is set back"))?;
    Ok(Answer::Done)
}

fn show(output: &mut Output, clock: StoreClock, json: bool) -> Result<(), Failure> {
    if json {
        return output.json(&json!({
            "now_ms": clock.now_ms,
            "clock_ms": clock.clock_ms,
            "ahead_ms": clock.ahead_ms(),
            "has_jumped": clock.has_jumped(),
        }));
    }
    let ahead = clock.ahead_ms();
    output.line(match clock.has_jumped() {
        false => format!("the store's time agrees with its clock ({ahead} ms ahead)"),
        true => format!(
            "the store's time is {} s ahead of its clock: approvals expire early. `kern clock --reset` sets it back",
            ahead / 1000
        ),
    })
}
