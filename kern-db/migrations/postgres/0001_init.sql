-- The first schema. {name} stands for the table's name in this database, {schema} for the schema it is made in.
-- Text that holds JSON is canonical (RFC 8785). `_ms` is epoch milliseconds, the other times are epoch seconds.
-- Text compares by its bytes, so that order is the same in every store. PostgreSQL's text has no NUL: kern writes one as
-- U+0001 and `0`, and U+0001 itself as U+0001 and `1`.
-- Triggers keep history: rows are never deleted, and what is decided never changes. They fire whatever the session's
-- replication role is. Their functions look for tables in this schema only: a table of a session's own does not stand in.

CREATE TABLE {runs} (
    run_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    session_id TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL,
    agent_name TEXT COLLATE "C",
    requester TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'ERROR', 'CANCELLED')),
    owner TEXT COLLATE "C",
    fence BIGINT NOT NULL,
    lease_until_ms BIGINT,
    turn BIGINT NOT NULL,
    recoveries BIGINT NOT NULL,
    attention BIGINT NOT NULL CHECK (attention IN (0, 1)),
    snapshot TEXT COLLATE "C" NOT NULL,
    snapshot_digest TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id);
CREATE INDEX idx_{runs}_agent_id_status ON {runs} (agent_id, status, run_id);

CREATE TABLE {approvals} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    run_id TEXT COLLATE "C" NOT NULL REFERENCES {runs} (run_id),
    session_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    source_type TEXT COLLATE "C" NOT NULL,
    approval_type TEXT COLLATE "C" NOT NULL CHECK (approval_type IN ('required', 'audit')),
    pause_type TEXT COLLATE "C" NOT NULL,
    tool_name TEXT COLLATE "C" NOT NULL,
    tool_args TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT,
    agent_id TEXT COLLATE "C",
    team_id TEXT COLLATE "C",
    workflow_id TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    schedule_id TEXT COLLATE "C",
    schedule_run_id TEXT COLLATE "C",
    source_name TEXT COLLATE "C",
    requirements TEXT COLLATE "C",
    context TEXT COLLATE "C",
    resolution_data TEXT COLLATE "C",
    resolved_by TEXT COLLATE "C",
    resolved_at BIGINT,
    created_at BIGINT NOT NULL,
    turn BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    tool_call_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    decided_digest TEXT COLLATE "C",
    policy TEXT COLLATE "C" NOT NULL,
    policy_digest TEXT COLLATE "C" NOT NULL,
    requester TEXT COLLATE "C",
    resolver TEXT COLLATE "C",
    deleted_at BIGINT,
    UNIQUE (run_id, turn, idx, generation)
);
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id);
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id);
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id);
CREATE INDEX idx_{approvals}_session_id ON {approvals} (session_id);
CREATE INDEX idx_{approvals}_agent_id ON {approvals} (agent_id);

CREATE TABLE {calls} (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES {runs} (run_id),
    turn BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    requirement_id TEXT COLLATE "C" NOT NULL,
    tool_call_id TEXT COLLATE "C" NOT NULL,
    tool_name TEXT COLLATE "C" NOT NULL,
    tool_version TEXT COLLATE "C" NOT NULL,
    schema_hash TEXT COLLATE "C" NOT NULL,
    arguments TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    shown_digest TEXT COLLATE "C" NOT NULL,
    earlier_digests TEXT COLLATE "C" NOT NULL,
    unfilled TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    policy_digest TEXT COLLATE "C" NOT NULL,
    approval_id TEXT COLLATE "C",
    generation BIGINT NOT NULL,
    answer TEXT COLLATE "C" CHECK (answer IN ('confirmed', 'rejected')),
    answer_digest TEXT COLLATE "C",
    answer_note TEXT COLLATE "C",
    answered_by TEXT COLLATE "C",
    answered_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (run_id, turn, idx)
);

CREATE TABLE {votes} (
    approval_id TEXT COLLATE "C" NOT NULL REFERENCES {approvals} (id),
    version BIGINT NOT NULL,
    voter_key TEXT COLLATE "C" NOT NULL,
    voter TEXT COLLATE "C",
    digest TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (approval_id, version, voter_key)
);

CREATE TABLE {executions} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    run_id TEXT COLLATE "C" NOT NULL REFERENCES {runs} (run_id),
    turn BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    approval_id TEXT COLLATE "C",
    authority TEXT COLLATE "C" NOT NULL CHECK (authority IN ('approval', 'answer', 'policy')),
    tool_name TEXT COLLATE "C" NOT NULL,
    arguments TEXT COLLATE "C" NOT NULL,
    decided_digest TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('ready', 'executing', 'succeeded', 'failed', 'unknown', 'abandoned')),
    attempt BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    owner TEXT COLLATE "C",
    lease_until_ms BIGINT,
    valid_until_ms BIGINT,
    result TEXT COLLATE "C",
    error TEXT COLLATE "C",
    settled_by TEXT COLLATE "C",
    note TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    finished_at_ms BIGINT,
    UNIQUE (run_id, turn, idx, generation)
);
CREATE INDEX idx_{executions}_approval_id ON {executions} (approval_id);
CREATE INDEX idx_{executions}_status ON {executions} (status, created_at_ms);

CREATE TABLE {audit} (
    seq BIGINT NOT NULL PRIMARY KEY,
    time_ms BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    evidence BIGINT NOT NULL CHECK (evidence IN (0, 1)),
    run_id TEXT COLLATE "C",
    turn BIGINT,
    idx BIGINT,
    approval_id TEXT COLLATE "C",
    execution_id TEXT COLLATE "C",
    call_digest TEXT COLLATE "C",
    payload TEXT COLLATE "C" NOT NULL,
    prev_hash TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL
);
CREATE INDEX idx_{audit}_run_id ON {audit} (run_id, turn, idx);

CREATE TABLE {outbox} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at_ms BIGINT NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C",
    approval_id TEXT COLLATE "C",
    execution_id TEXT COLLATE "C",
    delivered_at_ms BIGINT
);
CREATE INDEX idx_{outbox}_waiting ON {outbox} (created_at_ms) WHERE delivered_at_ms IS NULL;

-- Runs.

CREATE FUNCTION {runs}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: runs are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') THEN
            RAISE EXCEPTION 'kern: a run that has ended does not change';
        END IF;
        IF NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.session_id IS DISTINCT FROM OLD.session_id OR NEW.agent_id IS DISTINCT FROM OLD.agent_id
          OR NEW.requester IS DISTINCT FROM OLD.requester OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.fence < OLD.fence THEN
            RAISE EXCEPTION 'kern: who asked for a run does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {runs}_guard BEFORE UPDATE OR DELETE ON {runs}
FOR EACH ROW EXECUTE FUNCTION {runs}_guard();
CREATE TRIGGER {runs}_no_truncate BEFORE TRUNCATE ON {runs}
FOR EACH STATEMENT EXECUTE FUNCTION {runs}_guard();
ALTER TABLE {runs} ENABLE ALWAYS TRIGGER {runs}_guard;
ALTER TABLE {runs} ENABLE ALWAYS TRIGGER {runs}_no_truncate;

-- Approvals.

CREATE FUNCTION {approvals}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: approvals are never deleted';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.approval_type = 'required' AND NEW.status <> 'pending' THEN
            RAISE EXCEPTION 'kern: an approval starts pending';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id IS DISTINCT FROM OLD.id OR NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.session_id IS DISTINCT FROM OLD.session_id
          OR NEW.source_type IS DISTINCT FROM OLD.source_type OR NEW.approval_type IS DISTINCT FROM OLD.approval_type
          OR NEW.pause_type IS DISTINCT FROM OLD.pause_type OR NEW.tool_name IS DISTINCT FROM OLD.tool_name
          OR NEW.expires_at IS DISTINCT FROM OLD.expires_at OR NEW.agent_id IS DISTINCT FROM OLD.agent_id OR NEW.team_id IS DISTINCT FROM OLD.team_id
          OR NEW.workflow_id IS DISTINCT FROM OLD.workflow_id OR NEW.user_id IS DISTINCT FROM OLD.user_id
          OR NEW.schedule_id IS DISTINCT FROM OLD.schedule_id OR NEW.schedule_run_id IS DISTINCT FROM OLD.schedule_run_id
          OR NEW.source_name IS DISTINCT FROM OLD.source_name OR NEW.requirements IS DISTINCT FROM OLD.requirements
          OR NEW.context IS DISTINCT FROM OLD.context OR NEW.created_at IS DISTINCT FROM OLD.created_at OR NEW.turn IS DISTINCT FROM OLD.turn
          OR NEW.idx IS DISTINCT FROM OLD.idx OR NEW.generation IS DISTINCT FROM OLD.generation OR NEW.tool_call_id IS DISTINCT FROM OLD.tool_call_id
          OR NEW.policy IS DISTINCT FROM OLD.policy OR NEW.requester IS DISTINCT FROM OLD.requester THEN
            RAISE EXCEPTION 'kern: what was asked does not change';
        END IF;
        IF OLD.status <> 'pending' AND (NEW.status IS DISTINCT FROM OLD.status OR NEW.tool_args IS DISTINCT FROM OLD.tool_args
          OR NEW.resolution_data IS DISTINCT FROM OLD.resolution_data OR NEW.resolved_by IS DISTINCT FROM OLD.resolved_by
          OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
          OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest
          OR NEW.resolver IS DISTINCT FROM OLD.resolver) THEN
            RAISE EXCEPTION 'kern: a decision does not change';
        END IF;
        IF OLD.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'kern: a hidden approval does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {approvals}_guard BEFORE INSERT OR UPDATE OR DELETE ON {approvals}
FOR EACH ROW EXECUTE FUNCTION {approvals}_guard();
CREATE TRIGGER {approvals}_no_truncate BEFORE TRUNCATE ON {approvals}
FOR EACH STATEMENT EXECUTE FUNCTION {approvals}_guard();
ALTER TABLE {approvals} ENABLE ALWAYS TRIGGER {approvals}_guard;
ALTER TABLE {approvals} ENABLE ALWAYS TRIGGER {approvals}_no_truncate;

-- Calls.

CREATE FUNCTION {calls}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: calls are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.turn IS DISTINCT FROM OLD.turn OR NEW.idx IS DISTINCT FROM OLD.idx
          OR NEW.tool_call_id IS DISTINCT FROM OLD.tool_call_id OR NEW.tool_name IS DISTINCT FROM OLD.tool_name
          OR NEW.tool_version IS DISTINCT FROM OLD.tool_version OR NEW.schema_hash IS DISTINCT FROM OLD.schema_hash
          OR NEW.shown_digest IS DISTINCT FROM OLD.shown_digest OR NEW.policy IS DISTINCT FROM OLD.policy THEN
            RAISE EXCEPTION 'kern: what a call is does not change';
        END IF;
        IF (NEW.arguments IS DISTINCT FROM OLD.arguments OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
              OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest OR NEW.earlier_digests IS DISTINCT FROM OLD.earlier_digests
              OR NEW.unfilled IS DISTINCT FROM OLD.unfilled)
          AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx) THEN
            RAISE EXCEPTION 'kern: what may run does not change';
        END IF;
        IF OLD.answer = 'rejected' AND NEW.answer IS DISTINCT FROM 'rejected' THEN
            RAISE EXCEPTION 'kern: a no is final';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {calls}_guard BEFORE UPDATE OR DELETE ON {calls}
FOR EACH ROW EXECUTE FUNCTION {calls}_guard();
CREATE TRIGGER {calls}_no_truncate BEFORE TRUNCATE ON {calls}
FOR EACH STATEMENT EXECUTE FUNCTION {calls}_guard();
ALTER TABLE {calls} ENABLE ALWAYS TRIGGER {calls}_guard;
ALTER TABLE {calls} ENABLE ALWAYS TRIGGER {calls}_no_truncate;

-- Votes.

CREATE FUNCTION {votes}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'kern: votes do not change';
    END IF;
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: votes are never deleted';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {votes}_guard BEFORE UPDATE OR DELETE ON {votes}
FOR EACH ROW EXECUTE FUNCTION {votes}_guard();
CREATE TRIGGER {votes}_no_truncate BEFORE TRUNCATE ON {votes}
FOR EACH STATEMENT EXECUTE FUNCTION {votes}_guard();
ALTER TABLE {votes} ENABLE ALWAYS TRIGGER {votes}_guard;
ALTER TABLE {votes} ENABLE ALWAYS TRIGGER {votes}_no_truncate;

-- Executions.

CREATE FUNCTION {executions}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: executions are never deleted';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NOT (NEW.status = 'ready' AND NEW.attempt = 0
              OR NEW.status = 'executing' AND NEW.attempt = 1 AND NEW.authority = 'policy')
          OR NOT (CASE NEW.authority
            WHEN 'approval' THEN EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
              AND approval_type = 'required' AND status = 'approved' AND deleted_at IS NULL AND decided_digest = NEW.decided_digest)
            WHEN 'answer' THEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
              AND answer = 'confirmed' AND answer_digest = NEW.decided_digest)
            ELSE EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
              AND approval_type = 'audit' AND status = 'approved' AND decided_digest = NEW.decided_digest) END) THEN
            RAISE EXCEPTION 'kern: an execution starts with what allows it';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id IS DISTINCT FROM OLD.id OR NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.turn IS DISTINCT FROM OLD.turn OR NEW.idx IS DISTINCT FROM OLD.idx
          OR NEW.generation IS DISTINCT FROM OLD.generation OR NEW.approval_id IS DISTINCT FROM OLD.approval_id
          OR NEW.authority IS DISTINCT FROM OLD.authority OR NEW.tool_name IS DISTINCT FROM OLD.tool_name
          OR NEW.arguments IS DISTINCT FROM OLD.arguments OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest
          OR NEW.valid_until_ms IS DISTINCT FROM OLD.valid_until_ms OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms
          OR NEW.fence < OLD.fence OR NEW.attempt < OLD.attempt THEN
            RAISE EXCEPTION 'kern: what may run does not change';
        END IF;
        IF NEW.status IS DISTINCT FROM OLD.status AND NOT (
             (OLD.status = 'ready' AND NEW.status IN ('executing', 'abandoned', 'unknown', 'succeeded'))
          OR (OLD.status = 'executing' AND NEW.status IN ('succeeded', 'failed', 'unknown'))
          OR (OLD.status = 'unknown' AND NEW.status IN ('succeeded', 'failed', 'abandoned'))) THEN
            RAISE EXCEPTION 'kern: an execution does not go that way';
        END IF;
        IF OLD.status IN ('succeeded', 'failed', 'abandoned') THEN
            RAISE EXCEPTION 'kern: an outcome does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {executions}_guard BEFORE INSERT OR UPDATE OR DELETE ON {executions}
FOR EACH ROW EXECUTE FUNCTION {executions}_guard();
CREATE TRIGGER {executions}_no_truncate BEFORE TRUNCATE ON {executions}
FOR EACH STATEMENT EXECUTE FUNCTION {executions}_guard();
ALTER TABLE {executions} ENABLE ALWAYS TRIGGER {executions}_guard;
ALTER TABLE {executions} ENABLE ALWAYS TRIGGER {executions}_no_truncate;

-- The audit log.

CREATE FUNCTION {audit}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    RAISE EXCEPTION 'kern: the audit log is only ever appended to';
END $guard$;
CREATE TRIGGER {audit}_guard BEFORE UPDATE OR DELETE ON {audit}
FOR EACH ROW EXECUTE FUNCTION {audit}_guard();
CREATE TRIGGER {audit}_no_truncate BEFORE TRUNCATE ON {audit}
FOR EACH STATEMENT EXECUTE FUNCTION {audit}_guard();
ALTER TABLE {audit} ENABLE ALWAYS TRIGGER {audit}_guard;
ALTER TABLE {audit} ENABLE ALWAYS TRIGGER {audit}_no_truncate;
