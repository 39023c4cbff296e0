//! `trait Db`: what every store does, stated once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Gathered;
use crate::clock::StoreClock;
use crate::records::approval::{Approval, ApprovalFilter, Page, Resolution};
use crate::records::audit::{AuditEntry, AuditReport, Erased};
use crate::records::checkpoint::Checkpoint;
use crate::records::delivery::{Delivery, DeliveryFilter};
use crate::records::execution::{Execution, ExecutionFilter, Settlement};
use crate::records::host::Host;
use crate::records::key::AccessKey;
use crate::records::pool::Pool;
use crate::records::principal::{Caller, Principal};
use crate::records::run::{Run, RunFilter};
use crate::records::session::{
    DeletedSession, NewSession, Session, SessionChange, SessionDeletion, SessionFilter, SessionOwner,
};
use crate::records::store::{RestoreAcceptance, RestoreAccepted, StoreStatus};
use crate::requests::{
    AnswerCall, Answered, AskAgain, BeginRun, CallClaim, CallClaimed, Candidates, ClaimCall, ClaimRun, CommitTurn,
    DeliveryClaim, DeliveryEnd, EndRun, Ended, Finished, KeptAnswer, KeyLookup, NewKey, OpenRequest, OpenedRequest,
    Quarantine, Recovered, RequestClaim, Resumable, RunClaim, RunClaimed, StoreInput, Swept, Ticket, Write, WrongTool,
};
use crate::{ApprovalId, ApprovalStatus, DeliveryStatus, ExecutionId, Result, RunId, SessionId};

/// What a store's method gives, boxed so that [`Db`] stays object-safe.
pub type DbFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

pub(crate) mod sealed {
    /// Only this crate makes stores: each of them has to pass the whole contract.
    pub trait Sealed {}
}

/// A store: approvals, executions, runs and the audit log.
///
/// Every change is one transaction that names the state it expects and adds its entry to the audit log; what a method
/// returned is durable. The database decides every race: any number of processes may use one store.
///
/// # Errors
///
/// Every method can fail with [`Error::Busy`](crate::Error::Busy), [`Full`](crate::Error::Full),
/// [`Corrupt`](crate::Error::Corrupt), [`Refused`](crate::Error::Refused) or [`Unavailable`](crate::Error::Unavailable); then
/// nothing was written. After [`CommitUnknown`](crate::Error::CommitUnknown) it is not known whether something was.
pub trait Db: sealed::Sealed + Transitions + fmt::Debug + Send + Sync + 'static {
    /// Reads an approval. `None`: there is none with this id, or it was deleted.
    fn get_approval<'a>(&'a self, id: &'a ApprovalId) -> DbFuture<'a, Option<Approval>>;

    /// Lists approvals, newest first.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`](crate::Error::Invalid): a limit outside 1 to 1000, page 0, or another page than the first beside
    ///   [`ApprovalFilter::after`].
    fn list_approvals(&self, filter: ApprovalFilter) -> DbFuture<'_, Page<Approval>>;

    /// Decides an approval, if it still has the expected status. Of any number of callers, one wins.
    ///
    /// A row whose quorum is not reached with this vote comes back `pending`, and so does one that was edited and that
    /// somebody else has to decide. What [`Resolution::data`] may change is said there.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    /// - [`Error::Conflict`](crate::Error::Conflict): it left the expected status first.
    /// - [`Error::Expired`](crate::Error::Expired): it is past its time.
    /// - [`Error::NotPermitted`](crate::Error::NotPermitted): whoever asked for the call may not decide about it, nor
    ///   whoever is not in the policy's pool; with a quorum of two or more, neither who wrote this version, nor who voted on it
    ///   already, nor somebody without a name.
    /// - [`Error::ReasonRequired`](crate::Error::ReasonRequired): the policy asks for a note.
    /// - [`Error::NotEditable`](crate::Error::NotEditable): there is nothing to check other arguments with.
    /// - [`Error::StaleView`](crate::Error::StaleView): it was edited since the decider looked at it.
    /// - [`Error::DigestMismatch`](crate::Error::DigestMismatch): what is stored is not what was asked.
    /// - [`Error::Invalid`](crate::Error::Invalid): the resolution is not usable, its arguments do not fit the tool's schema
    ///   (every mistake is named), or fields are still to be filled.
    fn update_approval<'a>(
        &'a self,
        id: &'a ApprovalId,
        expected_status: ApprovalStatus,
        resolution: Resolution,
    ) -> DbFuture<'a, Approval>;

    /// Hides an approval: a pending one is cancelled, an approved one that was not started is void. The row and the
    /// audit log stay.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    /// - [`Error::ExecutionConflict`](crate::Error::ExecutionConflict): its call is running, or its end is unknown.
    fn delete_approval<'a>(&'a self, id: &'a ApprovalId) -> DbFuture<'a, ()>;

    /// Counts the approvals that a filter finds, on all pages.
    fn count_approvals(&self, filter: ApprovalFilter) -> DbFuture<'_, u64>;

    /// Counts the executions that a filter finds, whatever its limit.
    fn count_executions(&self, filter: ExecutionFilter) -> DbFuture<'_, u64>;

    /// Counts the approvals that wait for somebody.
    fn count_pending_approvals(&self) -> DbFuture<'_, u64>;

    /// Lists executions, oldest first.
    fn list_executions(&self, filter: ExecutionFilter) -> DbFuture<'_, Vec<Execution>>;

    /// Records a human's word on how an `unknown` execution ended, or has its call asked for again.
    ///
    /// After [`Settlement::run_again`] this execution is `abandoned`, and the same call is asked for as the next generation:
    /// by a new approval where one is required, of the requester where only they confirm it. A bare audit call is ready to be
    /// started again.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    /// - [`Error::NoteRequired`](crate::Error::NoteRequired): the settlement has no note.
    /// - [`Error::ExecutionConflict`](crate::Error::ExecutionConflict): it is not `unknown`.
    /// - [`Error::RunConflict`](crate::Error::RunConflict): its run has ended, so that nothing of it is run again.
    /// - [`Error::DigestMismatch`](crate::Error::DigestMismatch): it is not run again, for what is stored is not what was
    ///   asked.
    /// - [`Error::NotPermitted`](crate::Error::NotPermitted): whoever asked for the call may not settle it.
    fn settle_execution<'a>(&'a self, id: &'a ExecutionId, settlement: Settlement) -> DbFuture<'a, Execution>;

    /// Reads how the store's time stands to its clock. It is ahead after an entry was written ahead of time, or a clock was set back:
    /// approvals expire early then, and nothing else happens ([`StoreClock::has_jumped`](crate::StoreClock::has_jumped)).
    fn clock(&self) -> DbFuture<'_, StoreClock>;

    /// Sets the store's time back to its clock (Z3). Every approval that waits expires, every call that is ready is given up, and
    /// every lease ends, because their times were computed on the clock that was ahead.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`](crate::Error::Invalid): there is no note.
    /// - [`Error::RunConflict`](crate::Error::RunConflict), [`Error::ExecutionConflict`](crate::Error::ExecutionConflict): a process
    ///   that has a live lease drives a run or a call.
    fn reset_clock(&self, by: Principal, note: String) -> DbFuture<'_, StoreClock>;

    /// Says who is in a pool from now on, and puts on record who said so. [`DbExt::set_pool`] is shorter.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`](crate::Error::Invalid): the pool's name is no plain word, or a member's name is blank, is there
    ///   twice, or is none.
    fn write_pool(&self, name: String, members: Vec<String>, by: Option<Principal>) -> DbFuture<'_, Pool>;

    /// Tells whether the store was set back to an older copy.
    fn store_status(&self) -> DbFuture<'_, StoreStatus>;

    /// Accepts that the store was set back (Z2): a new epoch, every open run paused until a person acknowledges that, and every
    /// call that could start, or runs, unknown.
    ///
    /// A lease that was granted before the quarantine has to be over first: [`RestoreAccepted::Waits`] says for how long.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`](crate::Error::Invalid): there is no note; or nothing proves that the store was set back, and it is not
    ///   forced.
    fn accept_restore(&self, acceptance: RestoreAcceptance) -> DbFuture<'_, RestoreAccepted>;

    /// Lists the hosts that drive the store, each of which has a mark. Empty where a store has one host only: a file, or memory.
    fn list_hosts(&self) -> DbFuture<'_, Vec<Host>>;

    /// Takes a host from the list that does not come back, so that a failover is confirmed without it. Which calls it started in
    /// commits that were not replicated cannot be known then.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    /// - [`Error::Invalid`](crate::Error::Invalid): there is no note; or it may still have a lease.
    fn retire_host(&self, id: String, by: Principal, note: String) -> DbFuture<'_, Host>;

    /// Ends the work of this process in order: the mark is synced, and the host is taken from the list unless another process
    /// uses its mark. The store can still be used afterwards.
    ///
    /// # Errors
    ///
    /// The mark or the list of hosts cannot be written.
    fn close(&self) -> DbFuture<'_, ()>;

    /// Lets a run go on after an accepted restore (R13). Where it needs no such word, nothing happens.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    /// - [`Error::NotPermitted`](crate::Error::NotPermitted): the requester of its calls may not acknowledge.
    /// - [`Error::RunConflict`](crate::Error::RunConflict): it is not paused.
    /// - [`Error::StoreRestored`](crate::Error::StoreRestored): the store is quarantined.
    fn acknowledge_restore<'a>(
        &'a self,
        id: &'a RunId,
        by: Option<Principal>,
        note: Option<String>,
    ) -> DbFuture<'a, ()>;

    /// Lists all pools, by name.
    fn list_pools(&self) -> DbFuture<'_, Vec<Pool>>;

    /// Lists all API keys, oldest first, revoked and expired ones too.
    fn list_keys(&self) -> DbFuture<'_, Vec<AccessKey>>;

    /// Revokes an API key for good, and puts on record who did. One that was revoked before stays as it is.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    fn revoke_key<'a>(&'a self, id: &'a str, by: Option<Principal>) -> DbFuture<'a, AccessKey>;

    /// Reads a run with its protected calls.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id.
    fn get_run<'a>(&'a self, id: &'a RunId) -> DbFuture<'a, Run>;

    /// Lists runs, oldest first unless the filter says otherwise, without their calls.
    fn list_runs(&self, filter: RunFilter) -> DbFuture<'_, Vec<Run>>;

    /// Lists sessions, the last changed first.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`](crate::Error::Invalid): a limit outside 1 to 1000, or page 0.
    fn list_sessions(&self, filter: SessionFilter) -> DbFuture<'_, Page<Session>>;

    /// Reads a session. `None`: nobody has made it and it has no run, or it was deleted.
    fn get_session<'a>(&'a self, id: &'a SessionId) -> DbFuture<'a, Option<Session>>;

    /// Makes a session before its first run. A session that nobody makes is there with its first run.
    ///
    /// # Errors
    ///
    /// - [`Error::SessionExists`](crate::Error::SessionExists): there is one with this id.
    /// - [`Error::Invalid`](crate::Error::Invalid): the id, the name or the metadata are empty or too long.
    fn create_session(&self, new: NewSession) -> DbFuture<'_, Session>;

    /// Says what a session is called, and what is kept with it.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is none with this id, or it is another user's.
    /// - [`Error::Invalid`](crate::Error::Invalid): the name or the metadata are empty or too long.
    fn update_session<'a>(&'a self, id: &'a SessionId, change: SessionChange) -> DbFuture<'a, Session>;

    /// Deletes sessions, all of them or none: cancels those of their runs that have not ended, and takes all of them out of every
    /// list, and out of what later runs remember. A body under way ends by itself, and its result is recorded.
    /// [`DbExt::delete_session`] is shorter for one.
    ///
    /// Approvals, executions and the audit log keep what was decided and done, and [`get_run`](Db::get_run) still reads a run:
    /// history is never removed. A later run with such an id begins a new session.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): one of them is not there, or is another user's.
    fn delete_sessions(&self, ids: Vec<SessionId>, deletion: SessionDeletion) -> DbFuture<'_, Vec<DeletedSession>>;

    /// Lists events on their way to webhooks, those of the oldest events first. What has ended is kept for seven days.
    fn list_deliveries(&self, filter: DeliveryFilter) -> DbFuture<'_, Vec<Delivery>>;

    /// The audit log.
    fn audit(&self) -> Audit;
}

/// Short ways over [`Db`], for every store.
pub trait DbExt: Db {
    /// Says who may decide where a policy names this pool. They are compared by name; nobody else may decide there, but for whom
    /// a credential puts into it ([`Resolution::by_member`]), and a pool of nobody lets nobody else decide.
    ///
    /// ```
    /// # use kern_db::{Db, DbExt, InMemoryDb};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let db = InMemoryDb::new();
    /// let pool = db.set_pool("finance", ["ann", "bob"]).await?;
    /// assert_eq!(pool.members, ["ann", "bob"]);
    /// # Ok::<(), kern_db::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Db::write_pool`].
    fn set_pool<M: Into<String>>(
        &self,
        name: impl Into<String>,
        members: impl IntoIterator<Item = M>,
    ) -> DbFuture<'_, Pool> {
        self.write_pool(name.into(), members.into_iter().map(Into::into).collect(), None)
    }

    /// Deletes one session.
    ///
    /// # Errors
    ///
    /// As [`Db::delete_sessions`].
    fn delete_session<'a>(&'a self, id: &SessionId, deletion: SessionDeletion) -> DbFuture<'a, DeletedSession> {
        let deleted = self.delete_sessions(vec![id.clone()], deletion);
        Box::pin(async move { Ok(deleted.await?.pop().expect("each session that is asked for is deleted")) })
    }
}

impl<D: Db + ?Sized> DbExt for D {}

/// The audit log of a store.
#[derive(Clone, Debug)]
pub struct Audit {
    store: Arc<dyn Db>,
}

impl Audit {
    pub(crate) fn new(store: Arc<dyn Db>) -> Self {
        Self { store }
    }

    /// Reads entries after number `after` (0: from the first), oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`].
    pub async fn entries(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>> {
        self.store.audit_entries(after, limit).await
    }

    /// Reads the whole log and finds the first place that is not as kern wrote it: edited, inserted, deleted or moved.
    ///
    /// A tail that was cut off leaves no trace in what remains: compare [`AuditReport::head`] with one kept elsewhere.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`]. A broken log is not an error but an answer.
    pub async fn verify(&self) -> Result<AuditReport> {
        self.verify_against(Vec::new()).await
    }

    /// As [`verify`](Self::verify), and the log must go on from checkpoints that were kept elsewhere: so a tail that was cut
    /// off is found, and a file that was put in the place of this one.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`]. A broken log is not an error but an answer.
    pub async fn verify_against(&self, kept: Vec<Checkpoint>) -> Result<AuditReport> {
        self.store.audit_verify(kept).await
    }

    /// Reads the store's checkpoints after one of so many entries (0: from the first), oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`].
    pub async fn checkpoints(&self, after: i64, limit: u32) -> Result<Vec<Checkpoint>> {
        self.store.audit_checkpoints(after, limit).await
    }

    #[cfg(feature = "checkpoints")]
    pub(crate) fn store(&self) -> &dyn Db {
        &*self.store
    }

    /// Takes the sensitive arguments (`#[arg(sensitive)]`) of a run's calls out of the store, once the run has ended, and puts
    /// on record who did it and why. In their place stand their commitments, which every digest is over: the log and the rows
    /// still verify. What was erased before, or has nothing to be erased, is left as it is, and the answer says so.
    ///
    /// Not erased is what tools gave, what was said in free text, and what copies of the store hold. A database file keeps
    /// overwritten text until it is vacuumed.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`](crate::Error::NotFound): there is no such run.
    /// - [`Error::RunConflict`](crate::Error::RunConflict): the run has not ended.
    /// - [`Error::DigestMismatch`](crate::Error::DigestMismatch): what is stored is not what kern wrote, and would be hidden.
    /// - [`Error::Invalid`](crate::Error::Invalid): the note is empty.
    pub async fn erase(&self, run_id: &RunId, by: Option<Principal>, note: impl Into<String>) -> Result<Erased> {
        self.store.erase_run(run_id.clone(), by, note.into()).await
    }
}

/// What the runtime asks of a store: the lines of the transition table. Applications have no use for it.
#[doc(hidden)]
#[allow(missing_docs)]
pub trait Transitions: Send + Sync {
    fn begin_run(&self, request: BeginRun) -> DbFuture<'_, RunClaim>;
    /// What leaves the run in a new state gives the run as it is then: nobody has to read it again.
    fn store_input(&self, request: StoreInput) -> DbFuture<'_, Run>;
    fn commit_turn(&self, request: CommitTurn) -> DbFuture<'_, Run>;
    /// `commit_turn` of a run that nobody was told of: it starts with it. The claim is [`RunClaim::first`].
    fn begin_with_turn(&self, begin: BeginRun, request: CommitTurn) -> DbFuture<'_, Run>;
    fn pause_run(&self, claim: RunClaim, snapshot: String, attention: bool) -> DbFuture<'_, Run>;
    fn check_run(&self, run_id: RunId, caller: Caller) -> DbFuture<'_, ()>;
    fn claim_run(&self, request: ClaimRun) -> DbFuture<'_, RunClaimed>;
    /// `claim_run`, and the claim of the call with this digest where it may start: the very call that the caller has looked
    /// at. One that was answered or asked for anew since has another.
    fn claim_run_and_call(&self, request: ClaimRun, digest: String) -> DbFuture<'_, (RunClaimed, Option<CallClaim>)>;
    /// Reads back what `claim_run` or `claim_run_and_call` committed, after its acknowledgement was lost: by the request's owner
    /// token and the fence that it gave the run. `None`: this request has claimed nothing. What is not known to last, or not in the
    /// mark, is an error.
    fn read_run_claim(&self, request: ClaimRun) -> DbFuture<'_, Option<(RunClaim, Option<CallClaim>)>>;
    /// The same for `claim_call`.
    fn read_call_claim(&self, request: ClaimCall) -> DbFuture<'_, Option<CallClaim>>;
    fn answer_call(&self, request: AnswerCall) -> DbFuture<'_, Answered>;
    fn ask_again(&self, request: AskAgain) -> DbFuture<'_, ()>;
    fn claim_call(&self, request: ClaimCall) -> DbFuture<'_, CallClaimed>;
    /// Writes are for calls whose stored policy is transactional, and are dropped where the body failed.
    fn finish_call(&self, ticket: Ticket, ended: Ended, writes: Vec<Write>) -> DbFuture<'_, Finished>;
    /// Records that a body refused a call: evidence, which changes nothing.
    fn record_wrong_tool(&self, refused: WrongTool) -> DbFuture<'_, ()>;
    /// Records that the tool of a call is not the one that it was shown with: evidence, once for each reason.
    fn record_tool_changed(&self, run_id: RunId, turn: u32, index: u32, reason: String) -> DbFuture<'_, ()>;
    /// `settle_execution` by the tool's own probe: from `unknown` only, and never to run it again.
    fn settle_probed(&self, id: ExecutionId, settlement: Settlement) -> DbFuture<'_, Execution>;
    /// Runs with something that is past its time, those that are longest so first.
    fn overdue(&self, limit: u32) -> DbFuture<'_, Vec<RunId>>;
    /// Closes what is past its time in one run.
    fn sweep_run(&self, run_id: RunId) -> DbFuture<'_, Swept>;
    /// All pools, read in the calling thread, which waits: for what is checked where nothing can be awaited.
    fn pools_now(&self) -> Result<Vec<Pool>>;
    /// Whoever makes a key has checked its scopes: the store knows them only as words.
    fn make_key(&self, request: NewKey) -> DbFuture<'_, AccessKey>;
    /// Whether there is a key, whatever became of it.
    fn has_keys(&self) -> DbFuture<'_, bool>;
    /// A key with the hash of its secret, held against the audit log.
    fn find_key(&self, id: String) -> DbFuture<'_, KeyLookup>;
    /// Of any number of requests with one key, one is claimed.
    fn open_request(&self, asked: OpenRequest) -> DbFuture<'_, OpenedRequest>;
    fn renew_request(&self, claim: RequestClaim, lease_ms: i64) -> DbFuture<'_, ()>;
    /// Without an answer, it may be claimed again.
    fn close_request(&self, claim: RequestClaim, answer: Option<KeptAnswer>) -> DbFuture<'_, ()>;
    fn end_run(&self, request: EndRun) -> DbFuture<'_, Run>;
    /// `end_run` of a run that nobody was told of: it starts and ends at once. The claim is [`RunClaim::first`].
    fn begin_and_end(&self, begin: BeginRun, request: EndRun) -> DbFuture<'_, Run>;
    fn cancel_run(&self, run_id: RunId, caller: Caller) -> DbFuture<'_, ()>;
    fn renew_run(&self, claim: RunClaim, lease_ms: i64) -> DbFuture<'_, ()>;
    /// R10b: for as long as `longest_ms` after the start.
    fn renew_call(&self, ticket: Ticket, lease_ms: i64, longest_ms: i64) -> DbFuture<'_, ()>;
    fn recover_run(&self, run_id: RunId) -> DbFuture<'_, Recovered>;
    fn lapsed_runs(&self, agent_id: String, limit: u32) -> DbFuture<'_, Vec<RunId>>;
    /// Looks which paused runs of an agent could go on. A run whose rows cannot be read is one of them: who tries is told.
    fn resumable_runs(&self, agent_id: String, candidates: Candidates) -> DbFuture<'_, Resumable>;
    /// Resolves when the store may have changed since this was called, by whatever process. It is a hint: it may come for
    /// nothing, late, or never.
    fn changed(&self) -> DbFuture<'_, ()>;
    fn hide_approval(&self, id: ApprovalId, by: Option<Principal>) -> DbFuture<'_, ()>;
    /// `list_approvals` as JSON of about `most_bytes` at the most, with a cursor to what comes after it.
    fn approvals_json(&self, filter: ApprovalFilter, most_bytes: usize) -> DbFuture<'_, Vec<u8>>;
    /// The ids of the runs that `list_runs` returns, from row `skip` on: for lists that load one run after the other.
    fn run_ids(&self, filter: RunFilter, skip: u64) -> DbFuture<'_, Vec<RunId>>;
    fn session_owner(&self, id: SessionId) -> DbFuture<'_, Option<SessionOwner>>;
    /// Snapshots of the newest runs of a session that have ended, of one agent and asked for by one person, oldest first.
    fn history(
        &self,
        session_id: SessionId,
        agent_id: String,
        requester: Option<Principal>,
        limit: u32,
    ) -> DbFuture<'_, Vec<String>>;
    fn audit_entries(&self, after: i64, limit: u32) -> DbFuture<'_, Vec<AuditEntry>>;
    /// The number of the last entry.
    fn audit_head(&self) -> DbFuture<'_, i64>;
    fn audit_verify(&self, kept: Vec<Checkpoint>) -> DbFuture<'_, AuditReport>;
    fn audit_checkpoint(&self, sign: crate::audit::Sign) -> DbFuture<'_, Option<Checkpoint>>;
    fn audit_checkpoints(&self, after: i64, limit: u32) -> DbFuture<'_, Vec<Checkpoint>>;
    /// Checkpoints that a sink does not have, oldest first.
    fn audit_undelivered(&self, sink: String, limit: u32) -> DbFuture<'_, Vec<Checkpoint>>;
    fn audit_delivered(&self, size: i64, sink: String) -> DbFuture<'_, ()>;
    fn erase_run(&self, run_id: RunId, by: Option<Principal>, note: String) -> DbFuture<'_, Erased>;
    /// Has a webhook told of these topics, and says that somebody sends to it.
    fn register_webhook(&self, name: String, topics: Vec<String>) -> DbFuture<'_, ()>;
    /// Whether there are events that nobody was handed yet.
    fn events_wait(&self) -> DbFuture<'_, bool>;
    /// Makes deliveries of the oldest events, and says of how many.
    fn hand_over_events(&self, limit: u32) -> DbFuture<'_, u32>;
    /// In how many milliseconds the next delivery to a webhook is due.
    fn next_delivery(&self, webhook: String) -> DbFuture<'_, Option<i64>>;
    fn claim_deliveries(&self, webhook: String, limit: u32, lease_ms: i64) -> DbFuture<'_, Vec<DeliveryClaim>>;
    /// `false`: the attempt is not the last one any more, or the delivery has ended.
    fn end_delivery(&self, event_id: String, webhook: String, attempt: u32, end: DeliveryEnd) -> DbFuture<'_, bool>;
    fn count_deliveries(&self, webhook: String, status: DeliveryStatus) -> DbFuture<'_, u64>;
    /// Removes events and deliveries that nobody needs any more, and says whether there may be more of them.
    fn sweep_events(&self, limit: u32) -> DbFuture<'_, bool>;
    /// Records as one entry what a request has gathered as evidence.
    fn record_gathered(&self, gathered: Gathered) -> DbFuture<'_, ()>;
    /// Whether it takes anything new.
    fn quarantine(&self) -> DbFuture<'_, Quarantine>;
    /// Who asked for a run. `None`: they gave no name. No snapshot is read.
    fn run_owner(&self, run_id: RunId) -> DbFuture<'_, Option<Principal>>;
    /// How long the store waits for a lock. Leases have to be longer.
    fn busy_timeout(&self) -> Duration;
    /// Whether what is stored outlives the process.
    fn is_durable(&self) -> bool;
    /// Whether a call's writes can be committed with its outcome.
    fn takes_writes(&self) -> bool;
    /// The same for clones of one store, in this process.
    fn handle(&self) -> usize;
}

/// Whatever an agent can keep its runs in: a store, or a shared one.
pub trait IntoDb {
    /// Gives the store as a shared one.
    fn into_db(self) -> Arc<dyn Db>;
}

impl<D: Db> IntoDb for D {
    fn into_db(self) -> Arc<dyn Db> {
        Arc::new(self)
    }
}

impl IntoDb for Arc<dyn Db> {
    fn into_db(self) -> Arc<dyn Db> {
        self
    }
}
