//! `kern pools list` and `set`.

use kern::db::{Db, Pool, Principal};
use serde_json::json;

use crate::arguments::SetPool;
use crate::call::{name, safe};
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Outcome};
use crate::output::Output;
use crate::words::{cell, now, span, table};

pub(crate) async fn list(output: &mut Output, db: &dyn Db, json: bool) -> Outcome {
    let pools = db.list_pools().await?;
    if json {
        output.json(&json!({ "data": pools }))?;
        return Ok(Answer::Done);
    }
    if pools.is_empty() {
        output.line("there is no pool. `kern pools set NAME SUBJECT…` makes one.")?;
        return Ok(Answer::Done);
    }
    let rows = pools.iter().map(|pool| row(pool, now())).collect();
    output.line(table(output.ink(), &["NAME", "MEMBERS", "SET BY", "AGE"], rows))?;
    Ok(Answer::Done)
}

fn row(pool: &Pool, now: i64) -> Vec<String> {
    let by = pool.set_by.as_ref().map(|by| name(&by.subject, by.verified));
    vec![
        safe(&pool.name),
        cell(&members(pool), 100),
        cell(&by.unwrap_or_else(|| "-".to_owned()), 40),
        span(now - pool.set_at_ms / 1000),
    ]
}

fn members(pool: &Pool) -> String {
    if pool.members.is_empty() {
        return "(nobody)".to_owned();
    }
    pool.members.iter().map(|member| safe(member)).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn set(output: &mut Output, db: &dyn Db, set: SetPool, json: bool) -> Outcome {
    let by = match set.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let pool = db.write_pool(set.name, set.members, Some(Principal::unverified(&by))).await?;
    let said = if json {
        output.json(&pool)
    } else {
        let line =
            format!("pool {}: {}, by {}", output.ink().bold(&safe(&pool.name)), members(&pool), name(&by, false));
        output.line(line)
    };
    said.map_err(|failure| failure.after(&format!("pool `{}` is set", pool.name)))?;
    Ok(Answer::Done)
}
