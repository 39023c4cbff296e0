//! `kern hosts list` and `retire`: the hosts whose marks a failover waits for.

use kern::db::{Db, Host, Principal};
use serde_json::json;

use crate::arguments::RetireHost;
use crate::call::{name, safe};
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, to_people};
use crate::words::{cell, now, span, table};

pub(crate) async fn list(output: &mut Output, db: &dyn Db, json: bool) -> Outcome {
    let hosts = db.list_hosts().await?;
    if json {
        output.json(&json!({ "data": hosts }))?;
        return Ok(Answer::Done);
    }
    if hosts.is_empty() {
        output.line("no host drives this store now. Only a PostgreSQL store lists its hosts.")?;
        return Ok(Answer::Done);
    }
    let rows = hosts.iter().map(|host| row(host, now())).collect();
    output.line(table(output.ink(), &["ID", "MACHINE", "LAST WRITE", "MARK"], rows))?;
    Ok(Answer::Done)
}

fn row(host: &Host, now: i64) -> Vec<String> {
    let compared = if host.compared { "compared" } else { "not compared yet" };
    vec![safe(&host.id), cell(&host.name, 40), span(now - host.seen_at_ms / 1000), compared.to_owned()]
}

pub(crate) async fn retire(output: &mut Output, db: &dyn Db, request: RetireHost, json: bool) -> Outcome {
    if request.note.trim().is_empty() {
        return Err(Failure::could_not("invalid", "--note is empty: say why the host does not come back"));
    }
    let by = match request.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let host = db.retire_host(request.id, Principal::unverified(&by), request.note).await?;
    let said = if json {
        output.json(&json!({ "retired": true, "host": host }))
    } else {
        output.line(format!("host {} ({}) is retired, by {}", safe(&host.id), safe(&host.name), name(&by, false)))
    };
    said.map_err(|failure| failure.after(&format!("host `{}` is retired", host.id)))?;
    to_people(
        "which calls this host started in commits that were not replicated cannot be known: look at the other systems before you \
         approve the same again",
    );
    Ok(Answer::Done)
}
