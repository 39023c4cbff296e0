-- The whole schema. {name} stands for the table's name in this database. Until the first release every change edits this file and
-- raises the number in `migrations.rs`; a database of another number is refused.
-- Text that holds JSON is canonical (RFC 8785). `_ms` is epoch milliseconds, the other times are epoch seconds.
-- Triggers keep history: rows are never deleted or replaced, and what is decided never changes.
-- INSERT OR REPLACE slips past BEFORE DELETE triggers unless recursive_triggers is on, hence the BEFORE INSERT ones: they
-- name every unique key, since any of them would push the old row out. The row id is such a key, too, where a table has
-- one; the audit log's is `seq`. A row id that an INSERT does not name is -1 in those triggers.
-- Tables with long rows have row ids, because a table without them keeps its rows in an index: a lookup then reads the whole of
-- every row that it is compared with, snapshots and all.

CREATE TABLE {runs} (
    run_id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    agent_name TEXT,
    requester TEXT,
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'ERROR', 'CANCELLED')),
    owner TEXT,
    fence INTEGER NOT NULL,
    lease_until_ms INTEGER,
    turn INTEGER NOT NULL,
    recoveries INTEGER NOT NULL,
    attention INTEGER NOT NULL CHECK (attention IN (0, 1)),
    snapshot TEXT NOT NULL,
    snapshot_digest TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    -- Of the snapshot's digest.
    snapshot_salt TEXT,
    erased_at_ms INTEGER,
    -- Who asked for a run: the subject of `requester`, and who vouches for it. Null: nobody does.
    user_id TEXT,
    issuer TEXT,
    -- When the session of a run was deleted. The run has ended then, and stays.
    deleted_at_ms INTEGER,
    -- What was asked, as the hooks left it.
    input TEXT,
    -- The epoch of the store in which a person last let it go on.
    epoch TEXT NOT NULL
) STRICT;
CREATE INDEX idx_{runs}_agent_id_status ON {runs} (agent_id, status, run_id);
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id, run_id, deleted_at_ms) WHERE deleted_at_ms IS NULL;
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id, session_id, agent_id, updated_at_ms, issuer, deleted_at_ms)
WHERE deleted_at_ms IS NULL;

CREATE TABLE {approvals} (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES {runs} (run_id),
    session_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    source_type TEXT NOT NULL,
    approval_type TEXT NOT NULL CHECK (approval_type IN ('required', 'audit')),
    pause_type TEXT NOT NULL,
    tool_name TEXT NOT NULL,
    tool_args TEXT NOT NULL,
    expires_at INTEGER,
    agent_id TEXT,
    team_id TEXT,
    workflow_id TEXT,
    user_id TEXT,
    issuer TEXT,
    schedule_id TEXT,
    schedule_run_id TEXT,
    source_name TEXT,
    requirements TEXT,
    context TEXT,
    resolution_data TEXT,
    resolved_by TEXT,
    resolved_at INTEGER,
    created_at INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    tool_call_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    decided_digest TEXT,
    policy TEXT NOT NULL,
    policy_digest TEXT NOT NULL,
    requester TEXT,
    resolver TEXT,
    deleted_at INTEGER,
    -- Who wrote the current version, where it is not the model's. JSON.
    edited_by TEXT,
    -- JSON: the arguments that displays leave out.
    sensitive TEXT,
    erased_at_ms INTEGER,
    -- Of everything that is shown beside the arguments.
    view_digest TEXT NOT NULL,
    UNIQUE (run_id, turn, idx, generation)
) STRICT;
CREATE INDEX idx_{approvals}_session_id ON {approvals} (session_id);
CREATE INDEX idx_{approvals}_agent_id ON {approvals} (agent_id);
-- What is past its time.
CREATE INDEX idx_{approvals}_due ON {approvals} (status, expires_at);
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id, issuer) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id_status ON {approvals} (user_id, status, created_at, id, issuer) WHERE deleted_at IS NULL;

CREATE TABLE {calls} (
    run_id TEXT NOT NULL REFERENCES {runs} (run_id),
    turn INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    requirement_id TEXT NOT NULL,
    tool_call_id TEXT NOT NULL,
    tool_name TEXT NOT NULL,
    tool_version TEXT NOT NULL,
    schema_hash TEXT NOT NULL,
    arguments TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    shown_digest TEXT NOT NULL,
    earlier_digests TEXT NOT NULL,
    unfilled TEXT NOT NULL,
    policy TEXT NOT NULL,
    policy_digest TEXT NOT NULL,
    approval_id TEXT,
    generation INTEGER NOT NULL,
    answer TEXT CHECK (answer IN ('confirmed', 'rejected')),
    answer_digest TEXT,
    answer_note TEXT,
    answered_by TEXT,
    answered_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    -- What a call's arguments are checked against: canonical JSON, whose SHA-256 is `schema_hash`.
    parameters TEXT,
    -- JSON: the fields that the tool leaves to people. Empty: all of them.
    user_fields TEXT,
    -- Bytes of canonical arguments.
    argument_limit INTEGER,
    -- JSON: ids of the requirements of earlier generations.
    earlier_requirements TEXT,
    -- JSON: the salt of each sensitive property, by name. Null in there: it was erased.
    salts TEXT,
    erased_at_ms INTEGER,
    -- SHA-256: no other tool has it.
    tool_identity TEXT NOT NULL,
    -- The entry of the audit log in which the current version was asked for.
    asked_shard INTEGER,
    asked_seq INTEGER,
    -- The version that the requester has confirmed.
    confirmed_version INTEGER,
    PRIMARY KEY (run_id, turn, idx)
) STRICT;

CREATE TABLE {votes} (
    approval_id TEXT NOT NULL REFERENCES {approvals} (id),
    version INTEGER NOT NULL,
    voter_key TEXT NOT NULL,
    voter TEXT,
    digest TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    -- What the voter sent along. JSON.
    resolution_data TEXT,
    -- Until when a credential says that the voter is in the policy's pool, where that alone let them vote.
    member_until_ms INTEGER,
    PRIMARY KEY (approval_id, version, voter_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE {executions} (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES {runs} (run_id),
    turn INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    approval_id TEXT,
    authority TEXT NOT NULL CHECK (authority IN ('approval', 'answer', 'policy')),
    tool_name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    decided_digest TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ready', 'executing', 'succeeded', 'failed', 'unknown', 'abandoned')),
    attempt INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    owner TEXT,
    lease_until_ms INTEGER,
    valid_until_ms INTEGER,
    result TEXT,
    error TEXT,
    settled_by TEXT,
    note TEXT,
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    finished_at_ms INTEGER,
    erased_at_ms INTEGER,
    -- The first report that came too late to be the outcome.
    late_status TEXT CHECK (late_status IN ('succeeded', 'failed')),
    late_result TEXT,
    UNIQUE (run_id, turn, idx, generation)
) STRICT;
CREATE INDEX idx_{executions}_approval_id ON {executions} (approval_id);
CREATE INDEX idx_{executions}_void ON {executions} (status, valid_until_ms);
CREATE INDEX idx_{executions}_status ON {executions} (status, created_at_ms, id);

-- One chain of entries for each shard. Position: `shard`, `seq` and `at_ms` (never before the entry before it). Header: from `now_ms`
-- (the time that the guards compared) to `call_digest`. Body: actor and payload.
-- A SQLite store has one shard, so that `seq` alone is the key.
CREATE TABLE {audit} (
    shard INTEGER NOT NULL CHECK (shard = 0),
    seq INTEGER NOT NULL PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    now_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    evidence INTEGER NOT NULL CHECK (evidence IN (0, 1)),
    -- The run at the root of the entry's run, which decides the shard.
    root_run_id TEXT,
    run_id TEXT,
    turn INTEGER,
    idx INTEGER,
    approval_id TEXT,
    execution_id TEXT,
    tool_name TEXT,
    call_digest TEXT,
    payload TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE INDEX idx_{audit}_run_id ON {audit} (run_id, turn, idx);
-- What the log has of one key, which is asked whenever the key is used: by the id in the place of a call's digest.
CREATE INDEX idx_{audit}_of_no_run ON {audit} (call_digest) WHERE run_id IS NULL;

-- What the store is, in its only row. `store_id` is for life, `epoch` until a restore is accepted. The time of the store was `at_ms`
-- when the clock said `wall_ms`; `resets` counts how often an operator has set it back.
CREATE TABLE {store} (
    store_id TEXT NOT NULL PRIMARY KEY,
    epoch TEXT NOT NULL,
    shards INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    resets INTEGER NOT NULL,
    -- The longest lease that was ever granted.
    lease_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'quarantined')),
    -- JSON: what the log lacks, while the store is quarantined.
    proof TEXT,
    quarantined_at_ms INTEGER,
    -- Empty: a file has no server.
    server TEXT
) STRICT, WITHOUT ROWID;

-- Empty: a file has one host.
CREATE TABLE {hosts} (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    server TEXT NOT NULL,
    added_at_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE {outbox} (
    id TEXT NOT NULL PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    topic TEXT NOT NULL,
    run_id TEXT,
    approval_id TEXT,
    execution_id TEXT,
    delivered_at_ms INTEGER
) STRICT;
CREATE INDEX idx_{outbox}_waiting ON {outbox} (created_at_ms) WHERE delivered_at_ms IS NULL;

-- Who may decide where a policy names the pool.
CREATE TABLE {pools} (
    name TEXT NOT NULL PRIMARY KEY,
    members TEXT NOT NULL,
    set_by TEXT,
    set_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE {checkpoints} (
    size INTEGER NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL,
    head TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    previous TEXT NOT NULL,
    signature TEXT NOT NULL,
    -- JSON: the sinks that have it.
    delivered TEXT NOT NULL
) STRICT;

-- How many approvals in each state are not hidden: of everybody (`*`), and of each requester: `=` and the name,
-- or `+`, the issuer, a line feed, which no issuer has, and the name. SQLite would have to
-- count them one by one. Triggers keep it, in the transaction that changes the rows.
CREATE TABLE {approvals}_counts (
    whose TEXT NOT NULL PRIMARY KEY,
    pending INTEGER NOT NULL DEFAULT 0,
    approved INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO {approvals}_counts (whose) VALUES ('*');

CREATE TABLE {keys} (
    id TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret, which is nowhere.
    secret_hash TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON: a list of words.
    scopes TEXT NOT NULL,
    created_by TEXT,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_by TEXT,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE {requests} (
    owner TEXT NOT NULL,
    request_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    run_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    status INTEGER,
    content_type TEXT,
    body TEXT,
    PRIMARY KEY (owner, request_key)
) STRICT;
CREATE INDEX idx_{requests}_age ON {requests} (created_at_ms);

-- Who is told of events. Neither an address nor a secret is here: whoever sends brings them along.
CREATE TABLE {webhooks} (
    name TEXT NOT NULL PRIMARY KEY,
    -- JSON: a list of words.
    topics TEXT NOT NULL,
    -- What was committed before is none of its business.
    since_ms INTEGER NOT NULL,
    -- When a process last said that it sends to it.
    seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One event on its way to one webhook: what the outbox had of it, and how far it is.
CREATE TABLE {deliveries} (
    event_id TEXT NOT NULL,
    webhook TEXT NOT NULL,
    topic TEXT NOT NULL,
    run_id TEXT,
    approval_id TEXT,
    execution_id TEXT,
    created_at_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    -- The fence of the last one, too.
    attempts INTEGER NOT NULL,
    -- When it may be begun again: after a failure, or after the lease of whoever is at it.
    due_at_ms INTEGER NOT NULL,
    outcome TEXT,
    ended_at_ms INTEGER,
    PRIMARY KEY (event_id, webhook)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_{deliveries}_due ON {deliveries} (webhook, status, due_at_ms, event_id);
CREATE INDEX idx_{deliveries}_ended ON {deliveries} (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- What somebody said of a session. It decides nothing, and goes with the session.
CREATE TABLE {sessions} (
    session_id TEXT NOT NULL PRIMARY KEY,
    requester TEXT,
    user_id TEXT,
    issuer TEXT,
    agent_id TEXT,
    name TEXT,
    metadata TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_{sessions}_user_id ON {sessions} (user_id, session_id, agent_id, updated_at_ms, issuer);

-- Runs.

CREATE TRIGGER {runs}_no_delete BEFORE DELETE ON {runs}
BEGIN SELECT RAISE(ABORT, 'kern: runs are never deleted'); END;
CREATE TRIGGER {runs}_no_replace BEFORE INSERT ON {runs}
WHEN EXISTS (SELECT 1 FROM {runs} WHERE run_id = NEW.run_id)
BEGIN SELECT RAISE(ABORT, 'kern: runs are never replaced'); END;
CREATE TRIGGER {runs}_ended BEFORE UPDATE ON {runs}
WHEN OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
  (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL
    AND NEW.deleted_at_ms IS OLD.deleted_at_ms
  OR OLD.deleted_at_ms IS NULL AND NEW.deleted_at_ms IS NOT NULL AND NEW.erased_at_ms IS OLD.erased_at_ms
    AND NEW.snapshot IS OLD.snapshot AND NEW.snapshot_digest IS OLD.snapshot_digest
    AND NEW.snapshot_salt IS OLD.snapshot_salt AND NEW.input IS OLD.input)
  AND NEW.status IS OLD.status AND NEW.owner IS OLD.owner AND NEW.fence IS OLD.fence
  AND NEW.lease_until_ms IS OLD.lease_until_ms AND NEW.turn IS OLD.turn AND NEW.recoveries IS OLD.recoveries
  AND NEW.attention IS OLD.attention AND NEW.agent_name IS OLD.agent_name AND NEW.updated_at_ms IS OLD.updated_at_ms)
BEGIN SELECT RAISE(ABORT, 'kern: a run that has ended does not change'); END;
CREATE TRIGGER {runs}_input BEFORE UPDATE ON {runs}
WHEN NEW.input IS NOT OLD.input
  AND NOT (OLD.input IS NULL AND OLD.status = 'RUNNING' AND NEW.status = 'RUNNING' AND OLD.turn = 0 AND NEW.turn = 0)
  AND NOT (NEW.input IS NULL AND OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'kern: what was asked is stored once, before the first turn'); END;
CREATE TRIGGER {runs}_identity BEFORE UPDATE ON {runs}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.session_id IS NOT OLD.session_id OR NEW.agent_id IS NOT OLD.agent_id
  OR NEW.requester IS NOT OLD.requester OR NEW.user_id IS NOT OLD.user_id OR NEW.issuer IS NOT OLD.issuer
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.fence < OLD.fence
BEGIN SELECT RAISE(ABORT, 'kern: who asked for a run does not change'); END;
CREATE TRIGGER {runs}_erased BEFORE UPDATE ON {runs}
WHEN (NEW.erased_at_ms IS NOT OLD.erased_at_ms OR (OLD.snapshot_salt IS NOT NULL AND NEW.snapshot_salt IS NOT OLD.snapshot_salt))
  AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'kern: only what has ended is erased'); END;
CREATE TRIGGER {runs}_rowid_no_replace BEFORE INSERT ON {runs}
WHEN EXISTS (SELECT 1 FROM {runs} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: runs are never replaced'); END;
CREATE TRIGGER {runs}_rowid BEFORE UPDATE ON {runs}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what runs are found by does not change'); END;
CREATE TRIGGER {runs}_deleted BEFORE UPDATE ON {runs}
WHEN NEW.deleted_at_ms IS NOT OLD.deleted_at_ms AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'kern: only what has ended is deleted'); END;

-- Approvals.

CREATE TRIGGER {approvals}_no_delete BEFORE DELETE ON {approvals}
BEGIN SELECT RAISE(ABORT, 'kern: approvals are never deleted'); END;
CREATE TRIGGER {approvals}_no_replace BEFORE INSERT ON {approvals}
WHEN EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
             AND generation = NEW.generation)
BEGIN SELECT RAISE(ABORT, 'kern: approvals are never replaced'); END;
CREATE TRIGGER {approvals}_born_pending BEFORE INSERT ON {approvals}
WHEN NEW.approval_type = 'required' AND NEW.status <> 'pending'
BEGIN SELECT RAISE(ABORT, 'kern: an approval starts pending'); END;
CREATE TRIGGER {approvals}_identity BEFORE UPDATE ON {approvals}
WHEN NEW.id IS NOT OLD.id OR NEW.run_id IS NOT OLD.run_id OR NEW.session_id IS NOT OLD.session_id
  OR NEW.source_type IS NOT OLD.source_type OR NEW.approval_type IS NOT OLD.approval_type
  OR NEW.pause_type IS NOT OLD.pause_type OR NEW.tool_name IS NOT OLD.tool_name
  OR NEW.expires_at IS NOT OLD.expires_at OR NEW.agent_id IS NOT OLD.agent_id OR NEW.team_id IS NOT OLD.team_id
  OR NEW.workflow_id IS NOT OLD.workflow_id OR NEW.user_id IS NOT OLD.user_id OR NEW.issuer IS NOT OLD.issuer
  OR NEW.schedule_id IS NOT OLD.schedule_id OR NEW.schedule_run_id IS NOT OLD.schedule_run_id
  OR NEW.source_name IS NOT OLD.source_name OR NEW.requirements IS NOT OLD.requirements
  OR NEW.context IS NOT OLD.context OR NEW.created_at IS NOT OLD.created_at OR NEW.turn IS NOT OLD.turn
  OR NEW.idx IS NOT OLD.idx OR NEW.generation IS NOT OLD.generation OR NEW.tool_call_id IS NOT OLD.tool_call_id
  OR NEW.policy IS NOT OLD.policy OR NEW.requester IS NOT OLD.requester
BEGIN SELECT RAISE(ABORT, 'kern: what was asked does not change'); END;
CREATE TRIGGER {approvals}_decided BEFORE UPDATE ON {approvals}
WHEN OLD.status <> 'pending' AND (NEW.status IS NOT OLD.status
  OR (NEW.tool_args IS NOT OLD.tool_args AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
  OR NEW.resolution_data IS NOT OLD.resolution_data OR NEW.resolved_by IS NOT OLD.resolved_by
  OR NEW.resolved_at IS NOT OLD.resolved_at OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
  OR NEW.decided_digest IS NOT OLD.decided_digest OR NEW.policy_digest IS NOT OLD.policy_digest
  OR NEW.view_digest IS NOT OLD.view_digest OR NEW.resolver IS NOT OLD.resolver)
BEGIN SELECT RAISE(ABORT, 'kern: a decision does not change'); END;
CREATE TRIGGER {approvals}_hidden BEFORE UPDATE ON {approvals}
WHEN OLD.deleted_at IS NOT NULL AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'kern: a hidden approval does not change'); END;
CREATE TRIGGER {approvals}_sensitive BEFORE UPDATE ON {approvals}
WHEN NEW.sensitive IS NOT OLD.sensitive
BEGIN SELECT RAISE(ABORT, 'kern: what was asked does not change'); END;
CREATE TRIGGER {approvals}_author BEFORE UPDATE ON {approvals}
WHEN NEW.edited_by IS NOT OLD.edited_by AND (OLD.status <> 'pending' OR NEW.version <= OLD.version)
BEGIN SELECT RAISE(ABORT, 'kern: who wrote a version does not change'); END;
CREATE TRIGGER {approvals}_erased BEFORE UPDATE ON {approvals}
WHEN NEW.erased_at_ms IS NOT OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL OR OLD.status = 'pending'
  OR NEW.deleted_at IS NOT OLD.deleted_at OR NEW.edited_by IS NOT OLD.edited_by
  OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                 AND erased_at_ms IS NOT NULL)
  OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                 AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.tool_args)))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;
-- Two statements instead of an `IN`: for its two values SQLite would fill a table of its own each time.
CREATE TRIGGER {approvals}_counted AFTER INSERT ON {approvals}
WHEN NEW.deleted_at IS NULL
BEGIN
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending'),
    approved = approved + (NEW.status = 'approved'),
    rejected = rejected + (NEW.status = 'rejected'),
    expired = expired + (NEW.status = 'expired'),
    cancelled = cancelled + (NEW.status = 'cancelled')
  WHERE whose = '*';
  INSERT INTO {approvals}_counts (whose) SELECT CASE WHEN NEW.issuer IS NULL THEN '=' || NEW.user_id ELSE '+' || NEW.issuer || char(10) || NEW.user_id END
  WHERE NEW.user_id IS NOT NULL
  ON CONFLICT (whose) DO NOTHING;
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending'),
    approved = approved + (NEW.status = 'approved'),
    rejected = rejected + (NEW.status = 'rejected'),
    expired = expired + (NEW.status = 'expired'),
    cancelled = cancelled + (NEW.status = 'cancelled')
  WHERE whose = CASE WHEN NEW.issuer IS NULL THEN '=' || NEW.user_id ELSE '+' || NEW.issuer || char(10) || NEW.user_id END;
END;
CREATE TRIGGER {approvals}_recounted AFTER UPDATE OF status, deleted_at ON {approvals}
WHEN NEW.status IS NOT OLD.status OR NEW.deleted_at IS NOT OLD.deleted_at
BEGIN
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'pending' AND OLD.deleted_at IS NULL),
    approved = approved + (NEW.status = 'approved' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'approved' AND OLD.deleted_at IS NULL),
    rejected = rejected + (NEW.status = 'rejected' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'rejected' AND OLD.deleted_at IS NULL),
    expired = expired + (NEW.status = 'expired' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'expired' AND OLD.deleted_at IS NULL),
    cancelled = cancelled + (NEW.status = 'cancelled' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'cancelled' AND OLD.deleted_at IS NULL)
  WHERE whose = '*';
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'pending' AND OLD.deleted_at IS NULL),
    approved = approved + (NEW.status = 'approved' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'approved' AND OLD.deleted_at IS NULL),
    rejected = rejected + (NEW.status = 'rejected' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'rejected' AND OLD.deleted_at IS NULL),
    expired = expired + (NEW.status = 'expired' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'expired' AND OLD.deleted_at IS NULL),
    cancelled = cancelled + (NEW.status = 'cancelled' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'cancelled' AND OLD.deleted_at IS NULL)
  WHERE whose = CASE WHEN NEW.issuer IS NULL THEN '=' || NEW.user_id ELSE '+' || NEW.issuer || char(10) || NEW.user_id END;
END;
CREATE TRIGGER {approvals}_rowid_no_replace BEFORE INSERT ON {approvals}
WHEN EXISTS (SELECT 1 FROM {approvals} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: approvals are never replaced'); END;
CREATE TRIGGER {approvals}_rowid BEFORE UPDATE ON {approvals}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what approvals are found by does not change'); END;

-- Calls.

CREATE TRIGGER {calls}_no_delete BEFORE DELETE ON {calls}
BEGIN SELECT RAISE(ABORT, 'kern: calls are never deleted'); END;
CREATE TRIGGER {calls}_no_replace BEFORE INSERT ON {calls}
WHEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx)
BEGIN SELECT RAISE(ABORT, 'kern: calls are never replaced'); END;
CREATE TRIGGER {calls}_identity BEFORE UPDATE ON {calls}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.tool_call_id IS NOT OLD.tool_call_id OR NEW.tool_name IS NOT OLD.tool_name
  OR (NEW.generation IS OLD.generation AND (NEW.requirement_id IS NOT OLD.requirement_id
    OR NEW.tool_identity IS NOT OLD.tool_identity OR NEW.tool_version IS NOT OLD.tool_version OR NEW.schema_hash IS NOT OLD.schema_hash
    OR NEW.parameters IS NOT OLD.parameters OR NEW.user_fields IS NOT OLD.user_fields
    OR NEW.argument_limit IS NOT OLD.argument_limit OR NEW.earlier_requirements IS NOT OLD.earlier_requirements
    OR NEW.shown_digest IS NOT OLD.shown_digest OR NEW.policy IS NOT OLD.policy))
BEGIN SELECT RAISE(ABORT, 'kern: what a call is does not change'); END;
CREATE TRIGGER {calls}_bound BEFORE UPDATE ON {calls}
WHEN NEW.generation IS OLD.generation
  AND ((NEW.arguments IS NOT OLD.arguments AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
      OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
      OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
      OR NEW.unfilled IS NOT OLD.unfilled)
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
              AND generation = OLD.generation)
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {calls}_asked BEFORE UPDATE ON {calls}
WHEN NEW.asked_shard IS NOT coalesce(OLD.asked_shard, NEW.asked_shard) OR NEW.asked_seq < OLD.asked_seq
  OR (OLD.asked_seq IS NOT NULL AND NEW.asked_seq IS NULL)
BEGIN SELECT RAISE(ABORT, 'kern: what was asked does not go back'); END;
CREATE TRIGGER {calls}_rejected BEFORE UPDATE ON {calls}
WHEN OLD.answer = 'rejected' AND NEW.answer IS NOT 'rejected'
BEGIN SELECT RAISE(ABORT, 'kern: a no is final'); END;
CREATE TRIGGER {calls}_generation BEFORE UPDATE ON {calls}
WHEN NEW.generation IS NOT OLD.generation AND (NEW.generation <> OLD.generation + 1
  OR NEW.answer IS NOT NULL OR OLD.answer = 'rejected'
  OR EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND (status <> 'abandoned' OR (attempt <> 0 AND (settled_by IS NULL OR NEW.digest IS NOT OLD.digest
                                                              OR NEW.policy IS NOT OLD.policy))))
  OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND generation = OLD.generation AND approval_type = 'required' AND status NOT IN ('approved', 'cancelled')))
BEGIN SELECT RAISE(ABORT, 'kern: only what has not started is asked again, or what is to be run again'); END;
CREATE TRIGGER {calls}_asked_again BEFORE UPDATE ON {calls}
WHEN NEW.generation IS NOT OLD.generation AND NEW.arguments IS NOT OLD.arguments
BEGIN SELECT RAISE(ABORT, 'kern: what is asked again is the same call'); END;
-- What may have happened already keeps its arguments, and with them its idempotency key.
CREATE TRIGGER {calls}_started BEFORE UPDATE ON {calls}
WHEN NEW.digest IS NOT OLD.digest
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx AND attempt > 0)
BEGIN SELECT RAISE(ABORT, 'kern: what has started once does not change'); END;
CREATE TRIGGER {calls}_salts BEFORE UPDATE ON {calls}
WHEN NEW.salts IS NOT OLD.salts AND NEW.generation IS OLD.generation AND NEW.erased_at_ms IS OLD.erased_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: what a call is does not change'); END;
CREATE TRIGGER {calls}_erased BEFORE UPDATE ON {calls}
WHEN OLD.erased_at_ms IS NOT NULL OR (NEW.erased_at_ms IS NOT NULL AND (
  NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
              AND erased_at_ms IS NOT NULL)
  OR NEW.generation IS NOT OLD.generation OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
  OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
  OR NEW.unfilled IS NOT OLD.unfilled OR NEW.approval_id IS NOT OLD.approval_id OR NEW.answer IS NOT OLD.answer
  OR NEW.tool_identity IS NOT OLD.tool_identity OR NEW.asked_shard IS NOT OLD.asked_shard
  OR NEW.asked_seq IS NOT OLD.asked_seq OR NEW.confirmed_version IS NOT OLD.confirmed_version
  OR NEW.answer_digest IS NOT OLD.answer_digest OR NEW.answer_note IS NOT OLD.answer_note
  OR NEW.answered_by IS NOT OLD.answered_by OR NEW.answered_at_ms IS NOT OLD.answered_at_ms
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR OLD.salts IS NULL OR NEW.salts IS NULL
  OR (SELECT count(*) FROM json_each(NEW.salts)) <> (SELECT count(*) FROM json_each(OLD.salts))
  OR EXISTS (SELECT 1 FROM json_each(NEW.salts)
             WHERE value IS NOT NULL OR key NOT IN (SELECT key FROM json_each(OLD.salts)))
  OR (SELECT count(*) FROM json_each(NEW.arguments)) <> (SELECT count(*) FROM json_each(OLD.arguments))
  OR EXISTS (SELECT 1 FROM json_each(NEW.arguments) AS after
             WHERE NOT EXISTS (SELECT 1 FROM json_each(OLD.arguments) AS before
               WHERE before.key = after.key AND (before.type = after.type AND before.value IS after.value
                 OR before.key IN (SELECT key FROM json_each(OLD.salts)))))))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;
CREATE TRIGGER {calls}_rowid_no_replace BEFORE INSERT ON {calls}
WHEN EXISTS (SELECT 1 FROM {calls} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: calls are never replaced'); END;
CREATE TRIGGER {calls}_rowid BEFORE UPDATE ON {calls}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what calls are found by does not change'); END;

-- Votes.

CREATE TRIGGER {votes}_no_update BEFORE UPDATE ON {votes}
BEGIN SELECT RAISE(ABORT, 'kern: votes do not change'); END;
CREATE TRIGGER {votes}_no_delete BEFORE DELETE ON {votes}
BEGIN SELECT RAISE(ABORT, 'kern: votes are never deleted'); END;
CREATE TRIGGER {votes}_no_replace BEFORE INSERT ON {votes}
WHEN EXISTS (SELECT 1 FROM {votes}
             WHERE approval_id = NEW.approval_id AND version = NEW.version AND voter_key = NEW.voter_key)
BEGIN SELECT RAISE(ABORT, 'kern: votes are never replaced'); END;
CREATE TRIGGER {votes}_member BEFORE INSERT ON {votes}
WHEN NEW.member_until_ms <= NEW.created_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: a membership that is over lets nobody vote'); END;

-- Executions.

CREATE TRIGGER {executions}_no_delete BEFORE DELETE ON {executions}
BEGIN SELECT RAISE(ABORT, 'kern: executions are never deleted'); END;
CREATE TRIGGER {executions}_no_replace BEFORE INSERT ON {executions}
WHEN EXISTS (SELECT 1 FROM {executions} WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM {executions} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
             AND generation = NEW.generation)
BEGIN SELECT RAISE(ABORT, 'kern: executions are never replaced'); END;
CREATE TRIGGER {executions}_born BEFORE INSERT ON {executions}
WHEN NOT (NEW.status = 'ready' AND NEW.attempt = 0
          OR NEW.status = 'executing' AND NEW.attempt = 1 AND NEW.authority = 'policy')
  OR NEW.late_status IS NOT NULL OR NEW.late_result IS NOT NULL
  OR NOT CASE NEW.authority
    WHEN 'approval' THEN EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
      AND approval_type = 'required' AND status = 'approved' AND deleted_at IS NULL AND decided_digest = NEW.decided_digest)
    WHEN 'answer' THEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
      AND answer = 'confirmed' AND answer_digest = NEW.decided_digest
        AND confirmed_version = version)
    ELSE EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
      AND approval_type = 'audit' AND status = 'approved' AND decided_digest = NEW.decided_digest) END
BEGIN SELECT RAISE(ABORT, 'kern: an execution starts with what allows it'); END;
CREATE TRIGGER {executions}_identity BEFORE UPDATE ON {executions}
WHEN NEW.id IS NOT OLD.id OR NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.generation IS NOT OLD.generation OR NEW.approval_id IS NOT OLD.approval_id
  OR NEW.authority IS NOT OLD.authority OR NEW.tool_name IS NOT OLD.tool_name
  OR (NEW.arguments IS NOT OLD.arguments AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
  OR NEW.decided_digest IS NOT OLD.decided_digest
  OR NEW.valid_until_ms IS NOT OLD.valid_until_ms OR NEW.created_at_ms IS NOT OLD.created_at_ms
  OR NEW.fence < OLD.fence OR NEW.attempt < OLD.attempt
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {executions}_step BEFORE UPDATE ON {executions}
WHEN NEW.status IS NOT OLD.status AND NOT (
     (OLD.status = 'ready' AND NEW.status IN ('abandoned', 'succeeded') AND OLD.attempt = 0)
  OR (OLD.status = 'ready' AND NEW.status = 'unknown' AND (OLD.attempt > 0 OR EXISTS (
        SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
          AND generation = OLD.generation AND json_extract(policy, '$.pause') = 'external_execution')
        OR EXISTS (SELECT 1 FROM {store} WHERE state = 'quarantined')))
  OR (OLD.status = 'ready' AND NEW.status = 'executing' AND (OLD.attempt = 0 OR EXISTS (
        SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
          AND generation = OLD.generation AND json_extract(policy, '$.effect') IN ('idempotent', 'transactional'))))
  OR (OLD.status = 'executing' AND NEW.status IN ('succeeded', 'failed', 'unknown'))
  OR (OLD.status = 'executing' AND NEW.status = 'ready' AND EXISTS (
        SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
          AND generation = OLD.generation AND json_extract(policy, '$.effect') IN ('idempotent', 'transactional'))
      AND EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('RUNNING', 'PAUSED')))
  OR (OLD.status = 'unknown' AND NEW.status IN ('succeeded', 'failed', 'abandoned')))
BEGIN SELECT RAISE(ABORT, 'kern: an execution does not go that way'); END;
CREATE TRIGGER {executions}_ended BEFORE UPDATE ON {executions}
WHEN OLD.status IN ('succeeded', 'failed', 'abandoned')
  AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
  AND (NEW.status IS NOT OLD.status OR NEW.owner IS NOT OLD.owner OR NEW.lease_until_ms IS NOT OLD.lease_until_ms
    OR NEW.result IS NOT OLD.result OR NEW.error IS NOT OLD.error OR NEW.settled_by IS NOT OLD.settled_by
    OR NEW.note IS NOT OLD.note OR NEW.started_at_ms IS NOT OLD.started_at_ms
    OR NEW.finished_at_ms IS NOT OLD.finished_at_ms OR NEW.erased_at_ms IS NOT OLD.erased_at_ms)
BEGIN SELECT RAISE(ABORT, 'kern: an outcome does not change'); END;
CREATE TRIGGER {executions}_late BEFORE UPDATE ON {executions}
WHEN (NEW.late_status IS NOT OLD.late_status OR NEW.late_result IS NOT OLD.late_result) AND NOT (
     (OLD.late_status IS NULL AND NEW.late_status IS NOT NULL AND NEW.late_result IS NOT NULL)
  OR (NEW.late_status IS OLD.late_status AND NEW.late_result IS NULL
      AND EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND erased_at_ms IS NOT NULL)))
BEGIN SELECT RAISE(ABORT, 'kern: what was reported too late is kept once, until it is erased'); END;
CREATE TRIGGER {executions}_attempt BEFORE UPDATE ON {executions}
WHEN (NEW.attempt IS NOT OLD.attempt OR NEW.fence IS NOT OLD.fence)
  AND NOT (OLD.status = 'ready' AND NEW.status = 'executing' AND NEW.attempt = OLD.attempt + 1 AND NEW.fence = OLD.fence + 1)
BEGIN SELECT RAISE(ABORT, 'kern: starts are counted one by one'); END;
CREATE TRIGGER {executions}_erased BEFORE UPDATE ON {executions}
WHEN NEW.erased_at_ms IS NOT OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL
  OR NEW.status IS NOT OLD.status OR NEW.attempt IS NOT OLD.attempt OR NEW.fence IS NOT OLD.fence
  OR NEW.owner IS NOT OLD.owner OR NEW.lease_until_ms IS NOT OLD.lease_until_ms OR NEW.result IS NOT OLD.result
  OR NEW.error IS NOT OLD.error OR NEW.settled_by IS NOT OLD.settled_by OR NEW.note IS NOT OLD.note
  OR NEW.started_at_ms IS NOT OLD.started_at_ms OR NEW.finished_at_ms IS NOT OLD.finished_at_ms
  OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                 AND erased_at_ms IS NOT NULL)
  OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                 AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.arguments)))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;
CREATE TRIGGER {executions}_rowid_no_replace BEFORE INSERT ON {executions}
WHEN EXISTS (SELECT 1 FROM {executions} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: executions are never replaced'); END;
CREATE TRIGGER {executions}_rowid BEFORE UPDATE ON {executions}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what executions are found by does not change'); END;

-- Audit.

CREATE TRIGGER {audit}_no_update BEFORE UPDATE ON {audit}
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;
CREATE TRIGGER {audit}_no_delete BEFORE DELETE ON {audit}
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;
CREATE TRIGGER {audit}_no_replace BEFORE INSERT ON {audit}
WHEN EXISTS (SELECT 1 FROM {audit} WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;

-- Pools.

CREATE TRIGGER {pools}_no_delete BEFORE DELETE ON {pools}
BEGIN SELECT RAISE(ABORT, 'kern: pools are never deleted'); END;
CREATE TRIGGER {pools}_no_replace BEFORE INSERT ON {pools}
WHEN EXISTS (SELECT 1 FROM {pools} WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'kern: pools are never replaced'); END;
CREATE TRIGGER {pools}_identity BEFORE UPDATE ON {pools}
WHEN NEW.name IS NOT OLD.name
BEGIN SELECT RAISE(ABORT, 'kern: what a pool is called does not change'); END;

-- Checkpoints.

CREATE TRIGGER {checkpoints}_no_delete BEFORE DELETE ON {checkpoints}
BEGIN SELECT RAISE(ABORT, 'kern: checkpoints are never deleted'); END;
CREATE TRIGGER {checkpoints}_no_replace BEFORE INSERT ON {checkpoints}
WHEN EXISTS (SELECT 1 FROM {checkpoints} WHERE size >= NEW.size)
BEGIN SELECT RAISE(ABORT, 'kern: checkpoints follow each other'); END;
CREATE TRIGGER {checkpoints}_identity BEFORE UPDATE ON {checkpoints}
WHEN NEW.size IS NOT OLD.size OR NEW.origin IS NOT OLD.origin OR NEW.head IS NOT OLD.head
  OR NEW.time_ms IS NOT OLD.time_ms OR NEW.previous IS NOT OLD.previous OR NEW.signature IS NOT OLD.signature
BEGIN SELECT RAISE(ABORT, 'kern: what a checkpoint says does not change'); END;

-- Keys.

CREATE TRIGGER {keys}_no_delete BEFORE DELETE ON {keys}
BEGIN SELECT RAISE(ABORT, 'kern: keys are never deleted'); END;
CREATE TRIGGER {keys}_no_replace BEFORE INSERT ON {keys}
WHEN EXISTS (SELECT 1 FROM {keys} WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'kern: keys are never replaced'); END;
CREATE TRIGGER {keys}_identity BEFORE UPDATE ON {keys}
WHEN NEW.id IS NOT OLD.id OR NEW.secret_hash IS NOT OLD.secret_hash OR NEW.subject IS NOT OLD.subject
  OR NEW.scopes IS NOT OLD.scopes OR NEW.created_by IS NOT OLD.created_by
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.expires_at_ms IS NOT OLD.expires_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: what a key is does not change'); END;
CREATE TRIGGER {keys}_revoked BEFORE UPDATE ON {keys}
WHEN OLD.revoked_at_ms IS NOT NULL
  AND (NEW.revoked_at_ms IS NOT OLD.revoked_at_ms OR NEW.revoked_by IS NOT OLD.revoked_by)
BEGIN SELECT RAISE(ABORT, 'kern: a revoked key stays revoked'); END;

-- Webhooks.

CREATE TRIGGER {webhooks}_no_replace BEFORE INSERT ON {webhooks}
WHEN EXISTS (SELECT 1 FROM {webhooks} WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'kern: webhooks are never replaced'); END;
CREATE TRIGGER {webhooks}_identity BEFORE UPDATE ON {webhooks}
WHEN NEW.name IS NOT OLD.name OR NEW.since_ms IS NOT OLD.since_ms
BEGIN SELECT RAISE(ABORT, 'kern: since when a webhook is told does not change'); END;

-- Deliveries.

CREATE TRIGGER {deliveries}_no_delete BEFORE DELETE ON {deliveries}
WHEN OLD.status = 'pending'
BEGIN SELECT RAISE(ABORT, 'kern: what waits to be delivered is not deleted'); END;
CREATE TRIGGER {deliveries}_no_replace BEFORE INSERT ON {deliveries}
WHEN EXISTS (SELECT 1 FROM {deliveries} WHERE event_id = NEW.event_id AND webhook = NEW.webhook)
BEGIN SELECT RAISE(ABORT, 'kern: deliveries are never replaced'); END;
CREATE TRIGGER {deliveries}_identity BEFORE UPDATE ON {deliveries}
WHEN NEW.event_id IS NOT OLD.event_id OR NEW.webhook IS NOT OLD.webhook OR NEW.topic IS NOT OLD.topic
  OR NEW.run_id IS NOT OLD.run_id OR NEW.approval_id IS NOT OLD.approval_id OR NEW.execution_id IS NOT OLD.execution_id
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.attempts < OLD.attempts
BEGIN SELECT RAISE(ABORT, 'kern: what is delivered does not change'); END;
CREATE TRIGGER {deliveries}_ended BEFORE UPDATE ON {deliveries}
WHEN OLD.status IS NOT 'pending'
BEGIN SELECT RAISE(ABORT, 'kern: a delivery that has ended does not change'); END;

-- The store itself.

CREATE TRIGGER {store}_no_delete BEFORE DELETE ON {store}
BEGIN SELECT RAISE(ABORT, 'kern: what a store is does not go'); END;
CREATE TRIGGER {store}_no_replace BEFORE INSERT ON {store}
WHEN EXISTS (SELECT 1 FROM {store})
BEGIN SELECT RAISE(ABORT, 'kern: a store has one row about itself'); END;
CREATE TRIGGER {store}_identity BEFORE UPDATE ON {store}
WHEN NEW.store_id IS NOT OLD.store_id OR NEW.shards IS NOT OLD.shards OR NEW.resets < OLD.resets
  OR (NEW.epoch IS NOT OLD.epoch AND NOT (OLD.state = 'quarantined' AND NEW.state = 'open'))
BEGIN SELECT RAISE(ABORT, 'kern: what a store is does not change'); END;
