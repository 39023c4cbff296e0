-- The first schema. {name} stands for the table's name in this database.
-- Text that holds JSON is canonical (RFC 8785). `_ms` is epoch milliseconds, the other times are epoch seconds.
-- Triggers keep history: rows are never deleted or replaced, and what is decided never changes.
-- INSERT OR REPLACE slips past BEFORE DELETE triggers unless recursive_triggers is on, hence the BEFORE INSERT ones: they
-- name every unique key, since any of them would push the old row out. The row id is such a key, too, where a table has
-- one, hence WITHOUT ROWID; the audit log's is `seq`.

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
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id);
CREATE INDEX idx_{runs}_agent_id_status ON {runs} (agent_id, status, run_id);

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
    UNIQUE (run_id, turn, idx, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id);
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id);
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id);
CREATE INDEX idx_{approvals}_session_id ON {approvals} (session_id);
CREATE INDEX idx_{approvals}_agent_id ON {approvals} (agent_id);

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
    PRIMARY KEY (run_id, turn, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE {votes} (
    approval_id TEXT NOT NULL REFERENCES {approvals} (id),
    version INTEGER NOT NULL,
    voter_key TEXT NOT NULL,
    voter TEXT,
    digest TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
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
    UNIQUE (run_id, turn, idx, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_{executions}_approval_id ON {executions} (approval_id);
CREATE INDEX idx_{executions}_status ON {executions} (status, created_at_ms);

CREATE TABLE {audit} (
    seq INTEGER NOT NULL PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    evidence INTEGER NOT NULL CHECK (evidence IN (0, 1)),
    run_id TEXT,
    turn INTEGER,
    idx INTEGER,
    approval_id TEXT,
    execution_id TEXT,
    call_digest TEXT,
    payload TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE INDEX idx_{audit}_run_id ON {audit} (run_id, turn, idx);

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

-- Runs.

CREATE TRIGGER {runs}_no_delete BEFORE DELETE ON {runs}
BEGIN SELECT RAISE(ABORT, 'kern: runs are never deleted'); END;
CREATE TRIGGER {runs}_no_replace BEFORE INSERT ON {runs}
WHEN EXISTS (SELECT 1 FROM {runs} WHERE run_id = NEW.run_id)
BEGIN SELECT RAISE(ABORT, 'kern: runs are never replaced'); END;
CREATE TRIGGER {runs}_ended BEFORE UPDATE ON {runs}
WHEN OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'kern: a run that has ended does not change'); END;
CREATE TRIGGER {runs}_identity BEFORE UPDATE ON {runs}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.session_id IS NOT OLD.session_id OR NEW.agent_id IS NOT OLD.agent_id
  OR NEW.requester IS NOT OLD.requester OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.fence < OLD.fence
BEGIN SELECT RAISE(ABORT, 'kern: who asked for a run does not change'); END;

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
  OR NEW.workflow_id IS NOT OLD.workflow_id OR NEW.user_id IS NOT OLD.user_id
  OR NEW.schedule_id IS NOT OLD.schedule_id OR NEW.schedule_run_id IS NOT OLD.schedule_run_id
  OR NEW.source_name IS NOT OLD.source_name OR NEW.requirements IS NOT OLD.requirements
  OR NEW.context IS NOT OLD.context OR NEW.created_at IS NOT OLD.created_at OR NEW.turn IS NOT OLD.turn
  OR NEW.idx IS NOT OLD.idx OR NEW.generation IS NOT OLD.generation OR NEW.tool_call_id IS NOT OLD.tool_call_id
  OR NEW.policy IS NOT OLD.policy OR NEW.requester IS NOT OLD.requester
BEGIN SELECT RAISE(ABORT, 'kern: what was asked does not change'); END;
CREATE TRIGGER {approvals}_decided BEFORE UPDATE ON {approvals}
WHEN OLD.status <> 'pending' AND (NEW.status IS NOT OLD.status OR NEW.tool_args IS NOT OLD.tool_args
  OR NEW.resolution_data IS NOT OLD.resolution_data OR NEW.resolved_by IS NOT OLD.resolved_by
  OR NEW.resolved_at IS NOT OLD.resolved_at OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
  OR NEW.decided_digest IS NOT OLD.decided_digest OR NEW.policy_digest IS NOT OLD.policy_digest
  OR NEW.resolver IS NOT OLD.resolver)
BEGIN SELECT RAISE(ABORT, 'kern: a decision does not change'); END;
CREATE TRIGGER {approvals}_hidden BEFORE UPDATE ON {approvals}
WHEN OLD.deleted_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'kern: a hidden approval does not change'); END;

-- Calls.

CREATE TRIGGER {calls}_no_delete BEFORE DELETE ON {calls}
BEGIN SELECT RAISE(ABORT, 'kern: calls are never deleted'); END;
CREATE TRIGGER {calls}_no_replace BEFORE INSERT ON {calls}
WHEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx)
BEGIN SELECT RAISE(ABORT, 'kern: calls are never replaced'); END;
CREATE TRIGGER {calls}_identity BEFORE UPDATE ON {calls}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.tool_call_id IS NOT OLD.tool_call_id OR NEW.tool_name IS NOT OLD.tool_name
  OR NEW.tool_version IS NOT OLD.tool_version OR NEW.schema_hash IS NOT OLD.schema_hash
  OR NEW.shown_digest IS NOT OLD.shown_digest OR NEW.policy IS NOT OLD.policy
BEGIN SELECT RAISE(ABORT, 'kern: what a call is does not change'); END;
CREATE TRIGGER {calls}_bound BEFORE UPDATE ON {calls}
WHEN (NEW.arguments IS NOT OLD.arguments OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
      OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
      OR NEW.unfilled IS NOT OLD.unfilled)
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx)
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {calls}_rejected BEFORE UPDATE ON {calls}
WHEN OLD.answer = 'rejected' AND NEW.answer IS NOT 'rejected'
BEGIN SELECT RAISE(ABORT, 'kern: a no is final'); END;

-- Votes.

CREATE TRIGGER {votes}_no_update BEFORE UPDATE ON {votes}
BEGIN SELECT RAISE(ABORT, 'kern: votes do not change'); END;
CREATE TRIGGER {votes}_no_delete BEFORE DELETE ON {votes}
BEGIN SELECT RAISE(ABORT, 'kern: votes are never deleted'); END;
CREATE TRIGGER {votes}_no_replace BEFORE INSERT ON {votes}
WHEN EXISTS (SELECT 1 FROM {votes}
             WHERE approval_id = NEW.approval_id AND version = NEW.version AND voter_key = NEW.voter_key)
BEGIN SELECT RAISE(ABORT, 'kern: votes are never replaced'); END;

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
  OR NOT CASE NEW.authority
    WHEN 'approval' THEN EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
      AND approval_type = 'required' AND status = 'approved' AND deleted_at IS NULL AND decided_digest = NEW.decided_digest)
    WHEN 'answer' THEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
      AND answer = 'confirmed' AND answer_digest = NEW.decided_digest)
    ELSE EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
      AND approval_type = 'audit' AND status = 'approved' AND decided_digest = NEW.decided_digest) END
BEGIN SELECT RAISE(ABORT, 'kern: an execution starts with what allows it'); END;
CREATE TRIGGER {executions}_identity BEFORE UPDATE ON {executions}
WHEN NEW.id IS NOT OLD.id OR NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.generation IS NOT OLD.generation OR NEW.approval_id IS NOT OLD.approval_id
  OR NEW.authority IS NOT OLD.authority OR NEW.tool_name IS NOT OLD.tool_name
  OR NEW.arguments IS NOT OLD.arguments OR NEW.decided_digest IS NOT OLD.decided_digest
  OR NEW.valid_until_ms IS NOT OLD.valid_until_ms OR NEW.created_at_ms IS NOT OLD.created_at_ms
  OR NEW.fence < OLD.fence OR NEW.attempt < OLD.attempt
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {executions}_step BEFORE UPDATE ON {executions}
WHEN NEW.status IS NOT OLD.status AND NOT (
     (OLD.status = 'ready' AND NEW.status IN ('executing', 'abandoned', 'unknown', 'succeeded'))
  OR (OLD.status = 'executing' AND NEW.status IN ('succeeded', 'failed', 'unknown'))
  OR (OLD.status = 'unknown' AND NEW.status IN ('succeeded', 'failed', 'abandoned')))
BEGIN SELECT RAISE(ABORT, 'kern: an execution does not go that way'); END;
CREATE TRIGGER {executions}_ended BEFORE UPDATE ON {executions}
WHEN OLD.status IN ('succeeded', 'failed', 'abandoned')
BEGIN SELECT RAISE(ABORT, 'kern: an outcome does not change'); END;

-- The audit log.

CREATE TRIGGER {audit}_no_update BEFORE UPDATE ON {audit}
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;
CREATE TRIGGER {audit}_no_delete BEFORE DELETE ON {audit}
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;
CREATE TRIGGER {audit}_no_replace BEFORE INSERT ON {audit}
WHEN EXISTS (SELECT 1 FROM {audit} WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'kern: the audit log is only ever appended to'); END;
