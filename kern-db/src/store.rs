//! `Db` for any store: each of its methods is one of the transitions, in a transaction of that store.

use crate::db::DbFuture;
use crate::{Error, Result};

/// How often a claim is tried whose lease the store does not have on record yet. It may lose the lease again where an older
/// copy is put back in between.
const GRANTS: u32 = 3;

/// Runs a claim. Where its lease is longer than every one before it, the lease is committed first, in a transaction of its own.
pub(crate) fn granted<'a, V: Send + 'a>(
    claim: impl Fn() -> DbFuture<'a, V> + Send + 'a,
    grant: impl Fn() -> DbFuture<'a, ()> + Send + 'a,
) -> DbFuture<'a, V> {
    // Most claims have a lease that is there.
    let first = claim();
    Box::pin(async move {
        let mut claimed: Result<V> = first.await;
        for _ in 0..GRANTS {
            if !matches!(claimed, Err(Error::LeaseNotGranted)) {
                return claimed;
            }
            grant().await?;
            claimed = claim().await;
        }
        match claimed {
            Err(Error::LeaseNotGranted) => Err(Error::Busy { action: GRANT }),
            claimed => claimed,
        }
    })
}

/// What is done before the first claim with a longer lease.
pub(crate) const GRANT: &str = "grant a longer lease";

/// Implements [`Db`](crate::db::Db) and [`Transitions`](crate::db::Transitions) for a store that has `write(action, job)` and `read(action, job)`, where a job
/// gets the store's transaction and gives a future that borrows it.
macro_rules! store {
    ($Store:ident) => {
        impl $crate::db::sealed::Sealed for $Store {}

        impl $Store {
            /// Records the longest lease before the first claim that has it.
            fn grant_lease(&self, lease_ms: i64) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, GRANT, move |tx| Box::pin(restore::grant(tx, lease_ms)))
            }
        }

        impl $crate::db::Db for $Store {
            fn get_approval<'a>(&'a self, id: &'a ApprovalId) -> DbFuture<'a, Option<Approval>> {
                let id = id.clone();
                self.read("read an approval", move |tx| Box::pin(read::approval(tx, id)))
            }

            fn list_approvals(&self, filter: ApprovalFilter) -> DbFuture<'_, Page<Approval>> {
                self.read("list approvals", move |tx| Box::pin(read::approvals(tx, filter)))
            }

            fn update_approval<'a>(
                &'a self,
                id: &'a ApprovalId,
                expected_status: ApprovalStatus,
                resolution: Resolution,
            ) -> DbFuture<'a, Approval> {
                let id = id.clone();
                self.write(Lane::Normal, "decide an approval", move |tx| {
                    Box::pin(approval::resolve(tx, id, expected_status, resolution))
                })
            }

            fn delete_approval<'a>(&'a self, id: &'a ApprovalId) -> DbFuture<'a, ()> {
                self.hide_approval(id.clone(), None)
            }

            fn count_approvals(&self, filter: ApprovalFilter) -> DbFuture<'_, u64> {
                self.read("count approvals", move |tx| Box::pin(read::approval_count(tx, filter)))
            }

            fn count_pending_approvals(&self) -> DbFuture<'_, u64> {
                self.read("count approvals", move |tx| Box::pin(read::pending_count(tx)))
            }

            fn count_executions(&self, filter: ExecutionFilter) -> DbFuture<'_, u64> {
                self.read("count executions", move |tx| Box::pin(read::execution_count(tx, filter)))
            }

            fn list_executions(&self, filter: ExecutionFilter) -> DbFuture<'_, Vec<Execution>> {
                self.read("list executions", move |tx| Box::pin(read::executions(tx, filter)))
            }

            fn settle_execution<'a>(&'a self, id: &'a ExecutionId, settlement: Settlement) -> DbFuture<'a, Execution> {
                let id = id.clone();
                self.write(Lane::Normal, "settle an execution", move |tx| {
                    Box::pin(settle::settle(tx, id, settlement, settle::Settler::Person))
                })
            }

            fn clock(&self) -> DbFuture<'_, StoreClock> {
                self.read("read the clock", move |tx| Box::pin(store_clock::read(tx)))
            }

            fn reset_clock(&self, by: Principal, note: String) -> DbFuture<'_, StoreClock> {
                self.write(Lane::Normal, "set the store's time back", move |tx| {
                    Box::pin(store_clock::reset(tx, by, note))
                })
            }

            fn write_pool(&self, name: String, members: Vec<String>, by: Option<Principal>) -> DbFuture<'_, Pool> {
                self.write(Lane::Normal, "set a pool", move |tx| Box::pin(pool::set(tx, name, members, by)))
            }

            fn store_status(&self) -> DbFuture<'_, StoreStatus> {
                self.read("read the store's state", move |tx| Box::pin(restore::status(tx)))
            }

            fn accept_restore(&self, acceptance: RestoreAcceptance) -> DbFuture<'_, RestoreAccepted> {
                self.write(Lane::Alone, "accept a restore", move |tx| Box::pin(restore::accept(tx, acceptance)))
            }

            fn acknowledge_restore<'a>(
                &'a self,
                id: &'a RunId,
                by: Option<Principal>,
                note: Option<String>,
            ) -> DbFuture<'a, ()> {
                let id = id.clone();
                self.write(Lane::Normal, "acknowledge a restore", move |tx| {
                    Box::pin(restore::acknowledge(tx, id, by, note))
                })
            }

            fn list_hosts(&self) -> DbFuture<'_, Vec<Host>> {
                self.read("list hosts", move |tx| Box::pin(host::list(tx)))
            }

            fn retire_host(&self, id: String, by: Principal, note: String) -> DbFuture<'_, Host> {
                self.write(Lane::Normal, "retire a host", move |tx| Box::pin(host::retire(tx, id, by, note)))
            }

            fn close(&self) -> DbFuture<'_, ()> {
                self.end_in_order()
            }

            fn list_pools(&self) -> DbFuture<'_, Vec<Pool>> {
                self.read("list pools", move |tx| Box::pin(pool::list(tx)))
            }

            fn list_keys(&self) -> DbFuture<'_, Vec<AccessKey>> {
                self.read("list keys", move |tx| Box::pin(key::list(tx)))
            }

            fn revoke_key<'a>(&'a self, id: &'a str, by: Option<Principal>) -> DbFuture<'a, AccessKey> {
                let id = id.to_owned();
                self.write(Lane::Normal, "revoke a key", move |tx| Box::pin(key::revoke(tx, id, by)))
            }

            fn get_run<'a>(&'a self, id: &'a RunId) -> DbFuture<'a, Run> {
                let id = id.clone();
                self.read("read a run", move |tx| Box::pin(read::run(tx, id)))
            }

            fn list_runs(&self, filter: RunFilter) -> DbFuture<'_, Vec<Run>> {
                self.read("list runs", move |tx| Box::pin(read::runs(tx, filter)))
            }

            fn list_sessions(&self, filter: SessionFilter) -> DbFuture<'_, Page<Session>> {
                self.read("list sessions", move |tx| Box::pin(read::sessions(tx, filter)))
            }

            fn get_session<'a>(&'a self, id: &'a SessionId) -> DbFuture<'a, Option<Session>> {
                let id = id.clone();
                self.read("read a session", move |tx| Box::pin(read::session(tx, id)))
            }

            fn create_session(&self, new: NewSession) -> DbFuture<'_, Session> {
                self.write(Lane::Normal, "make a session", move |tx| Box::pin(session::make(tx, new)))
            }

            fn update_session<'a>(&'a self, id: &'a SessionId, change: SessionChange) -> DbFuture<'a, Session> {
                let id = id.clone();
                self.write(Lane::Normal, "change a session", move |tx| Box::pin(session::change(tx, id, change)))
            }

            fn delete_sessions(
                &self,
                ids: Vec<SessionId>,
                deletion: SessionDeletion,
            ) -> DbFuture<'_, Vec<DeletedSession>> {
                self.write(Lane::Normal, "delete sessions", move |tx| Box::pin(session::delete(tx, ids, deletion)))
            }

            fn list_deliveries(&self, filter: DeliveryFilter) -> DbFuture<'_, Vec<Delivery>> {
                self.read("list deliveries", move |tx| Box::pin(delivery::list(tx, filter)))
            }

            fn audit(&self) -> Audit {
                Audit::new(std::sync::Arc::new(self.clone()))
            }
        }

        impl $crate::db::Transitions for $Store {
            fn begin_run(&self, request: BeginRun) -> DbFuture<'_, RunClaim> {
                let lease_ms = request.lease_ms;
                let claim = move || {
                    let request = request.clone();
                    self.write(Lane::Normal, "start a run", move |tx| Box::pin(run::begin(tx, request)))
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn store_input(&self, request: StoreInput) -> DbFuture<'_, Run> {
                self.write(Lane::Normal, "store an input", move |tx| Box::pin(run::store_input(tx, request)))
            }

            fn commit_turn(&self, request: CommitTurn) -> DbFuture<'_, Run> {
                self.write(Lane::Normal, "commit a turn", move |tx| Box::pin(run::commit_turn(tx, None, request)))
            }

            fn begin_with_turn(&self, begin: BeginRun, request: CommitTurn) -> DbFuture<'_, Run> {
                let lease_ms = begin.lease_ms;
                let claim = move || {
                    let begin = begin.clone();
                    let request = request.clone();
                    self.write(Lane::Normal, "start a run with a turn", move |tx| {
                        Box::pin(run::commit_turn(tx, Some(begin), request))
                    })
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn pause_run(&self, claim: RunClaim, snapshot: String, attention: bool) -> DbFuture<'_, Run> {
                self.write(Lane::Normal, "pause a run", move |tx| Box::pin(run::pause(tx, claim, snapshot, attention)))
            }

            fn check_run(&self, run_id: RunId, caller: Caller) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "compare a run's rows", move |tx| Box::pin(run::check(tx, run_id, caller)))
            }

            fn claim_run(&self, request: ClaimRun) -> DbFuture<'_, RunClaimed> {
                let lease_ms = request.lease_ms;
                let claim = move || {
                    let request = request.clone();
                    self.write(Lane::Normal, "claim a run", move |tx| {
                        Box::pin(async move { Ok(run::claim(tx, request, None).await?.0) })
                    })
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn claim_run_and_call(
                &self,
                request: ClaimRun,
                digest: String,
            ) -> DbFuture<'_, (RunClaimed, Option<CallClaim>)> {
                let lease_ms = request.lease_ms;
                let claim = move || {
                    let request = request.clone();
                    let digest = digest.clone();
                    self.write(Lane::Normal, "claim a run", move |tx| Box::pin(run::claim(tx, request, Some(digest))))
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn read_run_claim(&self, request: ClaimRun) -> DbFuture<'_, Option<(RunClaim, Option<CallClaim>)>> {
                self.write(Lane::Normal, "read a claim back", move |tx| Box::pin(read_back::run_claim(tx, request)))
            }

            fn read_call_claim(&self, request: ClaimCall) -> DbFuture<'_, Option<CallClaim>> {
                self.write(Lane::Normal, "read a claim back", move |tx| Box::pin(read_back::call_start(tx, request)))
            }

            fn answer_call(&self, request: AnswerCall) -> DbFuture<'_, Answered> {
                self.write(Lane::Normal, "store an answer", move |tx| Box::pin(answer::answer(tx, request)))
            }

            fn ask_again(&self, request: AskAgain) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "ask for calls again", move |tx| Box::pin(ask::ask_again(tx, request)))
            }

            fn claim_call(&self, request: ClaimCall) -> DbFuture<'_, CallClaimed> {
                let lease_ms = request.lease_ms;
                let claim = move || {
                    let request = request.clone();
                    self.write(Lane::Normal, "claim a call", move |tx| Box::pin(execution::claim(tx, request)))
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn record_wrong_tool(&self, refused: WrongTool) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "record a refused call", move |tx| {
                    Box::pin(execution::wrong_tool(tx, refused))
                })
            }

            fn record_tool_changed(&self, run_id: RunId, turn: u32, index: u32, reason: String) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "record a changed tool", move |tx| {
                    Box::pin(run::tool_changed(tx, run_id, turn, index, reason))
                })
            }

            fn finish_call(&self, ticket: Ticket, ended: Ended, writes: Vec<Write>) -> DbFuture<'_, Finished> {
                let action = "record an outcome";
                if writes.is_empty() {
                    return self.write(Lane::Normal, action, move |tx| {
                        Box::pin(execution::finish(tx, ticket, ended, Vec::new()))
                    });
                }
                // Statements of somebody else's have a transaction of their own: whatever they do, nobody else goes with them.
                let same = ticket.clone();
                let writing =
                    self.write(Lane::Alone, action, move |tx| Box::pin(execution::finish(tx, ticket, ended, writes)));
                Box::pin(async move {
                    let why = match writing.await {
                        Err($crate::Error::RefusedAtCommit { detail }) => detail,
                        other => return other,
                    };
                    let failed = Ended::Failed(why.clone());
                    let finished = self.write(Lane::Normal, action, move |tx| {
                        Box::pin(execution::finish(tx, same, failed, Vec::new()))
                    });
                    Ok(match finished.await? {
                        Finished::Recorded => Finished::WritesRefused(why),
                        other => other,
                    })
                })
            }

            fn settle_probed(&self, id: ExecutionId, settlement: Settlement) -> DbFuture<'_, Execution> {
                self.write(Lane::Normal, "settle an execution", move |tx| {
                    Box::pin(settle::settle(tx, id, settlement, settle::Settler::Probe))
                })
            }

            fn overdue(&self, limit: u32) -> DbFuture<'_, Vec<RunId>> {
                self.read("look for what is past its time", move |tx| Box::pin(sweep::overdue(tx, u64::from(limit))))
            }

            fn sweep_run(&self, run_id: RunId) -> DbFuture<'_, Swept> {
                self.write(Lane::Normal, "close what is past its time", move |tx| Box::pin(sweep::run_due(tx, run_id)))
            }

            fn pools_now(&self) -> $crate::Result<Vec<Pool>> {
                self.read_now("list pools", move |tx| Box::pin(pool::list(tx)))
            }

            fn make_key(&self, request: NewKey) -> DbFuture<'_, AccessKey> {
                self.write(Lane::Normal, "make a key", move |tx| Box::pin(key::make(tx, request)))
            }

            fn has_keys(&self) -> DbFuture<'_, bool> {
                self.read("look for keys", |tx| Box::pin(key::exists(tx)))
            }

            fn find_key(&self, id: String) -> DbFuture<'_, KeyLookup> {
                self.read("look up a key", move |tx| Box::pin(key::find(tx, id)))
            }

            fn open_request(&self, asked: OpenRequest) -> DbFuture<'_, OpenedRequest> {
                self.write(Lane::Normal, "look up a request", move |tx| Box::pin(request::open(tx, asked)))
            }

            fn renew_request(&self, claim: RequestClaim, lease_ms: i64) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "renew a request", move |tx| Box::pin(request::renew(tx, claim, lease_ms)))
            }

            fn close_request(&self, claim: RequestClaim, answer: Option<KeptAnswer>) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "keep an answer", move |tx| Box::pin(request::close(tx, claim, answer)))
            }

            fn end_run(&self, request: EndRun) -> DbFuture<'_, Run> {
                self.write(Lane::Normal, "end a run", move |tx| Box::pin(run::end(tx, None, request)))
            }

            fn begin_and_end(&self, begin: BeginRun, request: EndRun) -> DbFuture<'_, Run> {
                let lease_ms = begin.lease_ms;
                let claim = move || {
                    let begin = begin.clone();
                    let request = request.clone();
                    self.write(Lane::Normal, "store a run that is over", move |tx| {
                        Box::pin(run::end(tx, Some(begin), request))
                    })
                };
                granted(claim, move || self.grant_lease(lease_ms))
            }

            fn cancel_run(&self, run_id: RunId, caller: Caller) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "cancel a run", move |tx| Box::pin(run::cancel(tx, run_id, caller)))
            }

            fn renew_run(&self, claim: RunClaim, lease_ms: i64) -> DbFuture<'_, ()> {
                self.write(Lane::Urgent, "renew a lease", move |tx| Box::pin(run::renew(tx, claim, lease_ms)))
            }

            fn renew_call(&self, ticket: Ticket, lease_ms: i64, longest_ms: i64) -> DbFuture<'_, ()> {
                self.write(Lane::Urgent, "renew a lease", move |tx| {
                    Box::pin(execution::renew(tx, ticket, lease_ms, longest_ms))
                })
            }

            fn recover_run(&self, run_id: RunId) -> DbFuture<'_, Recovered> {
                self.write(Lane::Normal, "recover a run", move |tx| Box::pin(recovery::recover(tx, run_id)))
            }

            fn lapsed_runs(&self, agent_id: String, limit: u32) -> DbFuture<'_, Vec<RunId>> {
                self.read("look for lost runs", move |tx| Box::pin(run::lapsed(tx, agent_id, u64::from(limit))))
            }

            fn resumable_runs(&self, agent_id: String, candidates: Candidates) -> DbFuture<'_, Resumable> {
                self.read("look for runs that can go on", move |tx| Box::pin(read::resumable(tx, agent_id, candidates)))
            }

            fn changed(&self) -> DbFuture<'_, ()> {
                self.next_change()
            }

            fn hide_approval(&self, id: ApprovalId, by: Option<Principal>) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "delete an approval", move |tx| Box::pin(approval::delete(tx, id, by)))
            }

            fn approvals_json(&self, filter: ApprovalFilter, most_bytes: usize) -> DbFuture<'_, Vec<u8>> {
                self.read("list approvals", move |tx| Box::pin(read::approvals_json(tx, filter, most_bytes)))
            }

            fn record_gathered(&self, gathered: Gathered) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "record evidence", move |tx| Box::pin(answer::record_gathered(tx, gathered)))
            }

            fn quarantine(&self) -> DbFuture<'_, Quarantine> {
                self.read("read the store's state", move |tx| Box::pin(restore::state(tx)))
            }

            fn run_owner(&self, run_id: RunId) -> DbFuture<'_, Option<Principal>> {
                self.read("read who asked for a run", move |tx| Box::pin(read::run_owner(tx, run_id)))
            }

            fn run_ids(&self, filter: RunFilter, skip: u64) -> DbFuture<'_, Vec<RunId>> {
                self.read("list runs", move |tx| Box::pin(read::run_ids(tx, filter, skip)))
            }

            fn session_owner(&self, id: SessionId) -> DbFuture<'_, Option<SessionOwner>> {
                self.read("read whose a session is", move |tx| Box::pin(read::session_owner(tx, id)))
            }

            fn history(
                &self,
                session_id: SessionId,
                agent_id: String,
                requester: Option<Principal>,
                limit: u32,
            ) -> DbFuture<'_, Vec<String>> {
                self.read("read a session's history", move |tx| {
                    Box::pin(read::history(tx, session_id, agent_id, requester, limit))
                })
            }

            fn audit_entries(&self, after: i64, limit: u32) -> DbFuture<'_, Vec<AuditEntry>> {
                self.read("read the audit log", move |tx| Box::pin($crate::audit::entries(tx, after, u64::from(limit))))
            }

            fn audit_head(&self) -> DbFuture<'_, i64> {
                self.read("read the audit log's head", move |tx| {
                    Box::pin(async move { Ok($crate::tx::Tx::head(tx).await?.seq) })
                })
            }

            fn audit_verify(&self, kept: Vec<Checkpoint>) -> DbFuture<'_, AuditReport> {
                self.read("verify the audit log", move |tx| Box::pin($crate::audit::verify(tx, kept)))
            }

            fn audit_checkpoint(&self, sign: $crate::audit::Sign) -> DbFuture<'_, Option<Checkpoint>> {
                self.write(Lane::Normal, "make a checkpoint", move |tx| {
                    Box::pin($crate::audit::checkpoint::make(tx, sign))
                })
            }

            fn audit_checkpoints(&self, after: i64, limit: u32) -> DbFuture<'_, Vec<Checkpoint>> {
                self.read("read the checkpoints", move |tx| {
                    Box::pin($crate::audit::checkpoint::list(tx, after, None, u64::from(limit)))
                })
            }

            fn audit_undelivered(&self, sink: String, limit: u32) -> DbFuture<'_, Vec<Checkpoint>> {
                self.read("read the checkpoints", move |tx| {
                    Box::pin($crate::audit::checkpoint::list(tx, 0, Some(sink), u64::from(limit)))
                })
            }

            fn audit_delivered(&self, size: i64, sink: String) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "note a delivery", move |tx| {
                    Box::pin($crate::audit::checkpoint::delivered(tx, size, sink))
                })
            }

            fn erase_run(&self, run_id: RunId, by: Option<Principal>, note: String) -> DbFuture<'_, Erased> {
                self.write(Lane::Normal, "erase a run's secrets", move |tx| {
                    Box::pin(erase::erase(tx, run_id, by, note))
                })
            }

            fn register_webhook(&self, name: String, topics: Vec<String>) -> DbFuture<'_, ()> {
                self.write(Lane::Normal, "register a webhook", move |tx| Box::pin(delivery::register(tx, name, topics)))
            }

            fn events_wait(&self) -> DbFuture<'_, bool> {
                self.read("look for events", move |tx| Box::pin(delivery::waits(tx)))
            }

            fn hand_over_events(&self, limit: u32) -> DbFuture<'_, u32> {
                self.write(Lane::Normal, "hand over events", move |tx| Box::pin(delivery::hand_over(tx, limit)))
            }

            fn next_delivery(&self, webhook: String) -> DbFuture<'_, Option<i64>> {
                self.read("look for deliveries", move |tx| Box::pin(delivery::next_due(tx, webhook)))
            }

            fn claim_deliveries(&self, webhook: String, limit: u32, lease_ms: i64) -> DbFuture<'_, Vec<DeliveryClaim>> {
                self.write(Lane::Normal, "claim deliveries", move |tx| {
                    Box::pin(delivery::claim(tx, webhook, limit, lease_ms))
                })
            }

            fn end_delivery(
                &self,
                event_id: String,
                webhook: String,
                attempt: u32,
                end: DeliveryEnd,
            ) -> DbFuture<'_, bool> {
                self.write(Lane::Normal, "end a delivery", move |tx| {
                    Box::pin(delivery::end(tx, event_id, webhook, attempt, end))
                })
            }

            fn count_deliveries(&self, webhook: String, status: DeliveryStatus) -> DbFuture<'_, u64> {
                self.read("count deliveries", move |tx| Box::pin(delivery::count(tx, webhook, status)))
            }

            fn sweep_events(&self, limit: u32) -> DbFuture<'_, bool> {
                self.write(Lane::Normal, "remove old events", move |tx| Box::pin(delivery::sweep(tx, limit)))
            }

            fn busy_timeout(&self) -> std::time::Duration {
                self.busy_timeout
            }

            fn is_durable(&self) -> bool {
                Self::DURABLE
            }

            fn takes_writes(&self) -> bool {
                Self::TAKES_WRITES
            }

            fn handle(&self) -> usize {
                self.shared_place()
            }
        }
    };
}
pub(crate) use store;

/// What an implementation by [`store!`] names.
pub(crate) mod prelude {
    pub(crate) use super::{GRANT, granted, store};
    pub(crate) use crate::audit::Gathered;
    pub(crate) use crate::clock::StoreClock;
    pub(crate) use crate::db::{Audit, DbFuture, Transitions};
    pub(crate) use crate::records::approval::{Approval, ApprovalFilter, Page, Resolution};
    pub(crate) use crate::records::audit::{AuditEntry, AuditReport, Erased};
    pub(crate) use crate::records::checkpoint::Checkpoint;
    pub(crate) use crate::records::delivery::{Delivery, DeliveryFilter};
    pub(crate) use crate::records::execution::{Execution, ExecutionFilter, Settlement};
    pub(crate) use crate::records::host::Host;
    pub(crate) use crate::records::key::AccessKey;
    pub(crate) use crate::records::pool::Pool;
    pub(crate) use crate::records::principal::{Caller, Principal};
    pub(crate) use crate::records::run::{Run, RunFilter};
    pub(crate) use crate::records::session::{
        DeletedSession, NewSession, Session, SessionChange, SessionDeletion, SessionFilter, SessionOwner,
    };
    pub(crate) use crate::records::store::{RestoreAcceptance, RestoreAccepted, StoreStatus};
    pub(crate) use crate::requests::{
        AnswerCall, Answered, AskAgain, BeginRun, CallClaim, CallClaimed, Candidates, ClaimCall, ClaimRun, CommitTurn,
        DeliveryClaim, DeliveryEnd, EndRun, Ended, Finished, KeptAnswer, KeyLookup, NewKey, OpenRequest, OpenedRequest,
        Quarantine, Recovered, RequestClaim, Resumable, RunClaim, RunClaimed, StoreInput, Swept, Ticket, Write,
        WrongTool,
    };
    pub(crate) use crate::transitions::clock as store_clock;
    pub(crate) use crate::transitions::{
        answer, approval, ask, delivery, erase, execution, host, key, pool, read, read_back, recovery, request,
        restore, run, session, settle, sweep,
    };
    pub(crate) use crate::{ApprovalId, ApprovalStatus, DeliveryStatus, ExecutionId, RunId, SessionId};
}

/// How urgent a job is. Renewals of leases go first: a long queue must not make a living owner look dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Urgent,
    Normal,
    /// Not urgent, and committed with nothing else.
    Alone,
}
