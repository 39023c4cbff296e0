-- The whole schema. {name} stands for the table's name in this database, {schema} for the schema it is made in. Until the first
-- release every change edits this file and raises the number in `migrations.rs`; a database of another number is refused.
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
    updated_at_ms BIGINT NOT NULL,
    -- Of the snapshot's digest.
    snapshot_salt TEXT COLLATE "C",
    erased_at_ms BIGINT,
    -- Who asked for a run: the subject of `requester`. JSON writes a NUL as an escape that PostgreSQL reads as no text, so that it
    -- becomes here what kern writes for it.
    user_id TEXT COLLATE "C",
    issuer TEXT COLLATE "C",
    -- When the session of a run was deleted. The run has ended then, and stays.
    deleted_at_ms BIGINT,
    -- What was asked, as the hooks left it.
    input TEXT COLLATE "C",
    -- The epoch of the store in which a person last let it go on.
    epoch TEXT COLLATE "C" NOT NULL
);
CREATE INDEX idx_{runs}_agent_id_status ON {runs} (agent_id, status, run_id);
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id, run_id) WHERE deleted_at_ms IS NULL;
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id) WHERE deleted_at_ms IS NULL;

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
    issuer TEXT COLLATE "C",
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
    -- Who wrote the current version, where it is not the model's. JSON.
    edited_by TEXT COLLATE "C",
    -- JSON: the arguments that displays leave out.
    sensitive TEXT COLLATE "C",
    erased_at_ms BIGINT,
    -- Of everything that is shown beside the arguments.
    view_digest TEXT COLLATE "C" NOT NULL,
    UNIQUE (run_id, turn, idx, generation)
);
CREATE INDEX idx_{approvals}_session_id ON {approvals} (session_id);
CREATE INDEX idx_{approvals}_agent_id ON {approvals} (agent_id);
-- What is past its time.
CREATE INDEX idx_{approvals}_due ON {approvals} (status, expires_at);
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id, issuer) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id_status ON {approvals} (user_id, status, created_at, id, issuer) WHERE deleted_at IS NULL;

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
    -- What a call's arguments are checked against: canonical JSON, whose SHA-256 is `schema_hash`.
    parameters TEXT COLLATE "C",
    -- JSON: the fields that the tool leaves to people. Empty: all of them.
    user_fields TEXT COLLATE "C",
    -- Bytes of canonical arguments.
    argument_limit BIGINT,
    -- JSON: ids of the requirements of earlier generations.
    earlier_requirements TEXT COLLATE "C",
    -- JSON: the salt of each sensitive property, by name. Null in there: it was erased.
    salts TEXT COLLATE "C",
    erased_at_ms BIGINT,
    -- SHA-256: no other tool has it.
    tool_identity TEXT COLLATE "C" NOT NULL,
    -- The entry of the audit log in which the current version was asked for.
    asked_shard BIGINT,
    asked_seq BIGINT,
    -- The version that the requester has confirmed.
    confirmed_version BIGINT,
    PRIMARY KEY (run_id, turn, idx)
);

CREATE TABLE {votes} (
    approval_id TEXT COLLATE "C" NOT NULL REFERENCES {approvals} (id),
    version BIGINT NOT NULL,
    voter_key TEXT COLLATE "C" NOT NULL,
    voter TEXT COLLATE "C",
    digest TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    -- What the voter sent along. JSON.
    resolution_data TEXT COLLATE "C",
    -- Until when a credential says that the voter is in the policy's pool, where that alone let them vote.
    member_until_ms BIGINT,
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
    erased_at_ms BIGINT,
    -- The first report that came too late to be the outcome.
    late_status TEXT COLLATE "C" CHECK (late_status IN ('succeeded', 'failed')),
    late_result TEXT COLLATE "C",
    UNIQUE (run_id, turn, idx, generation)
);
CREATE INDEX idx_{executions}_approval_id ON {executions} (approval_id);
CREATE INDEX idx_{executions}_status ON {executions} (status, created_at_ms);
CREATE INDEX idx_{executions}_void ON {executions} (status, valid_until_ms);

-- One chain of entries for each shard. Position: `shard`, `seq` and `at_ms` (never before the entry before it). Header: from `now_ms`
-- (the time that the guards compared) to `call_digest`. Body: actor and payload.
CREATE TABLE {audit} (
    shard BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    now_ms BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    evidence BIGINT NOT NULL CHECK (evidence IN (0, 1)),
    -- The run at the root of the entry's run, which decides the shard.
    root_run_id TEXT COLLATE "C",
    run_id TEXT COLLATE "C",
    turn BIGINT,
    idx BIGINT,
    approval_id TEXT COLLATE "C",
    execution_id TEXT COLLATE "C",
    tool_name TEXT COLLATE "C",
    call_digest TEXT COLLATE "C",
    payload TEXT COLLATE "C" NOT NULL,
    prev_hash TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, seq)
);
CREATE INDEX idx_{audit}_run_id ON {audit} (run_id, turn, idx);
-- What the log has of one key, which is asked whenever the key is used: by the id in the place of a call's digest.
CREATE INDEX idx_{audit}_of_no_run ON {audit} (call_digest) WHERE run_id IS NULL;

-- What the store is, in its only row. `store_id` is for life, `epoch` until a restore is accepted. The time of the store was `at_ms`
-- when the clock said `wall_ms`; `resets` counts how often an operator has set it back.
CREATE TABLE {store} (
    store_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch TEXT COLLATE "C" NOT NULL,
    shards BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    wall_ms BIGINT NOT NULL,
    resets BIGINT NOT NULL,
    -- The longest lease that was ever granted.
    lease_ms BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'quarantined')),
    -- JSON: what the log lacks, while the store is quarantined.
    proof TEXT COLLATE "C",
    quarantined_at_ms BIGINT,
    -- The database that the log was confirmed to be whole in: system identifier, oid and timeline. A restored copy and a promoted
    -- standby have others.
    server TEXT COLLATE "C"
);

-- The hosts that drive the store, by the id in the mark of each. `server`: the database that the host has last compared its mark with.
CREATE TABLE {hosts} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    server TEXT COLLATE "C" NOT NULL,
    added_at_ms BIGINT NOT NULL,
    seen_at_ms BIGINT NOT NULL
);

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

-- Who may decide where a policy names the pool.
CREATE TABLE {pools} (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    members TEXT COLLATE "C" NOT NULL,
    set_by TEXT COLLATE "C",
    set_at_ms BIGINT NOT NULL
);

CREATE TABLE {checkpoints} (
    size BIGINT NOT NULL PRIMARY KEY,
    origin TEXT COLLATE "C" NOT NULL,
    head TEXT COLLATE "C" NOT NULL,
    time_ms BIGINT NOT NULL,
    previous TEXT COLLATE "C" NOT NULL,
    signature TEXT COLLATE "C" NOT NULL,
    -- JSON: the sinks that have it.
    delivered TEXT COLLATE "C" NOT NULL
);

CREATE TABLE {keys} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret, which is nowhere.
    secret_hash TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    -- JSON: a list of words.
    scopes TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    revoked_by TEXT COLLATE "C",
    revoked_at_ms BIGINT
);

CREATE TABLE {requests} (
    owner TEXT COLLATE "C" NOT NULL,
    request_key TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    status BIGINT,
    content_type TEXT COLLATE "C",
    body TEXT COLLATE "C",
    PRIMARY KEY (owner, request_key)
);
CREATE INDEX idx_{requests}_age ON {requests} (created_at_ms);

-- Who is told of events. Neither an address nor a secret is here: whoever sends brings them along.
CREATE TABLE {webhooks} (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- JSON: a list of words.
    topics TEXT COLLATE "C" NOT NULL,
    -- What was committed before is none of its business.
    since_ms BIGINT NOT NULL,
    -- When a process last said that it sends to it.
    seen_at_ms BIGINT NOT NULL
);

-- One event on its way to one webhook: what the outbox had of it, and how far it is.
CREATE TABLE {deliveries} (
    event_id TEXT COLLATE "C" NOT NULL,
    webhook TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C",
    approval_id TEXT COLLATE "C",
    execution_id TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    -- The fence of the last one, too.
    attempts BIGINT NOT NULL,
    -- When it may be begun again: after a failure, or after the lease of whoever is at it.
    due_at_ms BIGINT NOT NULL,
    outcome TEXT COLLATE "C",
    ended_at_ms BIGINT,
    PRIMARY KEY (event_id, webhook)
);
CREATE INDEX idx_{deliveries}_due ON {deliveries} (webhook, status, due_at_ms, event_id);
CREATE INDEX idx_{deliveries}_ended ON {deliveries} (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- What somebody said of a session. It decides nothing, and goes with the session.
CREATE TABLE {sessions} (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    requester TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    issuer TEXT COLLATE "C",
    agent_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    metadata TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX idx_{sessions}_user_id ON {sessions} (user_id, session_id);

-- Runs.

CREATE FUNCTION {runs}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: runs are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
          (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL
              AND NEW.deleted_at_ms IS NOT DISTINCT FROM OLD.deleted_at_ms
          OR OLD.deleted_at_ms IS NULL AND NEW.deleted_at_ms IS NOT NULL
              AND NEW.erased_at_ms IS NOT DISTINCT FROM OLD.erased_at_ms
              AND NEW.snapshot IS NOT DISTINCT FROM OLD.snapshot
              AND NEW.snapshot_digest IS NOT DISTINCT FROM OLD.snapshot_digest
              AND NEW.snapshot_salt IS NOT DISTINCT FROM OLD.snapshot_salt
              AND NEW.input IS NOT DISTINCT FROM OLD.input)
          AND NOT (
              NEW.status IS DISTINCT FROM OLD.status
              OR NEW.owner IS DISTINCT FROM OLD.owner
              OR NEW.fence IS DISTINCT FROM OLD.fence
              OR NEW.lease_until_ms IS DISTINCT FROM OLD.lease_until_ms
              OR NEW.turn IS DISTINCT FROM OLD.turn
              OR NEW.recoveries IS DISTINCT FROM OLD.recoveries
              OR NEW.attention IS DISTINCT FROM OLD.attention
              OR NEW.agent_name IS DISTINCT FROM OLD.agent_name
              OR NEW.updated_at_ms IS DISTINCT FROM OLD.updated_at_ms)) THEN
            RAISE EXCEPTION 'kern: a run that has ended does not change';
        END IF;
        IF NEW.input IS DISTINCT FROM OLD.input
          AND NOT (OLD.input IS NULL AND OLD.status = 'RUNNING' AND NEW.status = 'RUNNING' AND OLD.turn = 0 AND NEW.turn = 0)
          AND NOT (NEW.input IS NULL AND OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL) THEN
            RAISE EXCEPTION 'kern: what was asked is stored once, before the first turn';
        END IF;
        IF NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.session_id IS DISTINCT FROM OLD.session_id OR NEW.agent_id IS DISTINCT FROM OLD.agent_id
          OR NEW.requester IS DISTINCT FROM OLD.requester OR NEW.user_id IS DISTINCT FROM OLD.user_id OR NEW.issuer IS DISTINCT FROM OLD.issuer
          OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.fence < OLD.fence THEN
            RAISE EXCEPTION 'kern: who asked for a run does not change';
        END IF;
        IF (NEW.erased_at_ms IS DISTINCT FROM OLD.erased_at_ms
              OR (OLD.snapshot_salt IS NOT NULL AND NEW.snapshot_salt IS DISTINCT FROM OLD.snapshot_salt))
          AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED') THEN
            RAISE EXCEPTION 'kern: only what has ended is erased';
        END IF;
        IF NEW.deleted_at_ms IS DISTINCT FROM OLD.deleted_at_ms AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED') THEN
            RAISE EXCEPTION 'kern: only what has ended is deleted';
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
          OR NEW.workflow_id IS DISTINCT FROM OLD.workflow_id OR NEW.user_id IS DISTINCT FROM OLD.user_id OR NEW.issuer IS DISTINCT FROM OLD.issuer
          OR NEW.schedule_id IS DISTINCT FROM OLD.schedule_id OR NEW.schedule_run_id IS DISTINCT FROM OLD.schedule_run_id
          OR NEW.source_name IS DISTINCT FROM OLD.source_name OR NEW.requirements IS DISTINCT FROM OLD.requirements
          OR NEW.context IS DISTINCT FROM OLD.context OR NEW.created_at IS DISTINCT FROM OLD.created_at OR NEW.turn IS DISTINCT FROM OLD.turn
          OR NEW.idx IS DISTINCT FROM OLD.idx OR NEW.generation IS DISTINCT FROM OLD.generation OR NEW.tool_call_id IS DISTINCT FROM OLD.tool_call_id
          OR NEW.policy IS DISTINCT FROM OLD.policy OR NEW.requester IS DISTINCT FROM OLD.requester THEN
            RAISE EXCEPTION 'kern: what was asked does not change';
        END IF;
        IF OLD.status <> 'pending' AND (NEW.status IS DISTINCT FROM OLD.status
          OR (NEW.tool_args IS DISTINCT FROM OLD.tool_args AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL))
          OR NEW.resolution_data IS DISTINCT FROM OLD.resolution_data OR NEW.resolved_by IS DISTINCT FROM OLD.resolved_by
          OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
          OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest
          OR NEW.view_digest IS DISTINCT FROM OLD.view_digest
          OR NEW.resolver IS DISTINCT FROM OLD.resolver) THEN
            RAISE EXCEPTION 'kern: a decision does not change';
        END IF;
        IF OLD.deleted_at IS NOT NULL AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL) THEN
            RAISE EXCEPTION 'kern: a hidden approval does not change';
        END IF;
        IF NEW.sensitive IS DISTINCT FROM OLD.sensitive THEN
            RAISE EXCEPTION 'kern: what was asked does not change';
        END IF;
        IF NEW.edited_by IS DISTINCT FROM OLD.edited_by AND (OLD.status <> 'pending' OR NEW.version <= OLD.version) THEN
            RAISE EXCEPTION 'kern: who wrote a version does not change';
        END IF;
        IF NEW.erased_at_ms IS DISTINCT FROM OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL OR OLD.status = 'pending'
              OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at
              OR NEW.edited_by IS DISTINCT FROM OLD.edited_by
              OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                          AND erased_at_ms IS NOT NULL)
              OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                          AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.tool_args))) THEN
            RAISE EXCEPTION 'kern: an erasure takes out the secrets, and nothing else';
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
          OR (NEW.generation IS NOT DISTINCT FROM OLD.generation AND (NEW.requirement_id IS DISTINCT FROM OLD.requirement_id
            OR NEW.tool_identity IS DISTINCT FROM OLD.tool_identity
            OR NEW.tool_version IS DISTINCT FROM OLD.tool_version OR NEW.schema_hash IS DISTINCT FROM OLD.schema_hash
            OR NEW.parameters IS DISTINCT FROM OLD.parameters OR NEW.user_fields IS DISTINCT FROM OLD.user_fields
            OR NEW.argument_limit IS DISTINCT FROM OLD.argument_limit OR NEW.earlier_requirements IS DISTINCT FROM OLD.earlier_requirements
            OR NEW.shown_digest IS DISTINCT FROM OLD.shown_digest OR NEW.policy IS DISTINCT FROM OLD.policy)) THEN
            RAISE EXCEPTION 'kern: what a call is does not change';
        END IF;
        IF NEW.generation IS DISTINCT FROM OLD.generation AND (NEW.generation <> OLD.generation + 1
          OR NEW.answer IS NOT NULL OR OLD.answer = 'rejected'
          OR EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                     AND (status <> 'abandoned' OR (attempt <> 0 AND (settled_by IS NULL OR NEW.digest IS DISTINCT FROM OLD.digest
                                                                      OR NEW.policy IS DISTINCT FROM OLD.policy))))
          OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                     AND generation = OLD.generation AND approval_type = 'required' AND status NOT IN ('approved', 'cancelled'))) THEN
            RAISE EXCEPTION 'kern: only what has not started is asked again, or what is to be run again';
        END IF;
        IF NEW.generation IS NOT DISTINCT FROM OLD.generation
          AND ((NEW.arguments IS DISTINCT FROM OLD.arguments AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL))
              OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
              OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest OR NEW.earlier_digests IS DISTINCT FROM OLD.earlier_digests
              OR NEW.unfilled IS DISTINCT FROM OLD.unfilled)
          AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                      AND generation = OLD.generation) THEN
            RAISE EXCEPTION 'kern: what may run does not change';
        END IF;
        IF NEW.generation IS DISTINCT FROM OLD.generation AND NEW.arguments IS DISTINCT FROM OLD.arguments THEN
            RAISE EXCEPTION 'kern: what is asked again is the same call';
        END IF;
        IF NEW.digest IS DISTINCT FROM OLD.digest
          AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx AND attempt > 0) THEN
            RAISE EXCEPTION 'kern: what has started once does not change';
        END IF;
        IF NEW.asked_shard IS DISTINCT FROM coalesce(OLD.asked_shard, NEW.asked_shard) OR NEW.asked_seq < OLD.asked_seq
          OR (OLD.asked_seq IS NOT NULL AND NEW.asked_seq IS NULL) THEN
            RAISE EXCEPTION 'kern: what was asked does not go back';
        END IF;
        IF OLD.answer = 'rejected' AND NEW.answer IS DISTINCT FROM 'rejected' THEN
            RAISE EXCEPTION 'kern: a no is final';
        END IF;
        IF NEW.salts IS DISTINCT FROM OLD.salts AND NEW.generation IS NOT DISTINCT FROM OLD.generation
          AND NEW.erased_at_ms IS NOT DISTINCT FROM OLD.erased_at_ms THEN
            RAISE EXCEPTION 'kern: what a call is does not change';
        END IF;
        IF OLD.erased_at_ms IS NOT NULL OR (NEW.erased_at_ms IS NOT NULL AND (
              NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                          AND erased_at_ms IS NOT NULL)
              OR NEW.generation IS DISTINCT FROM OLD.generation
              OR NEW.version IS DISTINCT FROM OLD.version
              OR NEW.digest IS DISTINCT FROM OLD.digest
              OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest
              OR NEW.earlier_digests IS DISTINCT FROM OLD.earlier_digests
              OR NEW.unfilled IS DISTINCT FROM OLD.unfilled
              OR NEW.approval_id IS DISTINCT FROM OLD.approval_id
              OR NEW.answer IS DISTINCT FROM OLD.answer
              OR NEW.tool_identity IS DISTINCT FROM OLD.tool_identity
              OR NEW.asked_shard IS DISTINCT FROM OLD.asked_shard
              OR NEW.asked_seq IS DISTINCT FROM OLD.asked_seq
              OR NEW.confirmed_version IS DISTINCT FROM OLD.confirmed_version
              OR NEW.answer_digest IS DISTINCT FROM OLD.answer_digest
              OR NEW.answer_note IS DISTINCT FROM OLD.answer_note
              OR NEW.answered_by IS DISTINCT FROM OLD.answered_by
              OR NEW.answered_at_ms IS DISTINCT FROM OLD.answered_at_ms
              OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms
              OR OLD.salts IS NULL OR NEW.salts IS NULL
              OR EXISTS (SELECT 1 FROM json_each_text(NEW.salts::json) WHERE value IS NOT NULL)
              OR EXISTS (SELECT key FROM json_each(NEW.salts::json) EXCEPT SELECT key FROM json_each(OLD.salts::json))
              OR EXISTS (SELECT key FROM json_each(OLD.salts::json) EXCEPT SELECT key FROM json_each(NEW.salts::json))
              OR EXISTS (SELECT key FROM json_each(NEW.arguments::json) EXCEPT SELECT key FROM json_each(OLD.arguments::json))
              OR EXISTS (SELECT key FROM json_each(OLD.arguments::json) EXCEPT SELECT key FROM json_each(NEW.arguments::json))
              OR EXISTS (SELECT 1 FROM json_each(NEW.arguments::json) AS after JOIN json_each(OLD.arguments::json) AS before
                           ON before.key = after.key
                         WHERE before.value::text <> after.value::text
                           AND before.key NOT IN (SELECT key FROM json_each(OLD.salts::json))))) THEN
            RAISE EXCEPTION 'kern: an erasure takes out the secrets, and nothing else';
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
    IF TG_OP = 'INSERT' THEN
        IF NEW.member_until_ms <= NEW.created_at_ms THEN
            RAISE EXCEPTION 'kern: a membership that is over lets nobody vote';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'kern: votes do not change';
    END IF;
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: votes are never deleted';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {votes}_guard BEFORE INSERT OR UPDATE OR DELETE ON {votes}
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
          OR NEW.late_status IS NOT NULL OR NEW.late_result IS NOT NULL
          OR NOT (CASE NEW.authority
            WHEN 'approval' THEN EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
              AND approval_type = 'required' AND status = 'approved' AND deleted_at IS NULL AND decided_digest = NEW.decided_digest)
            WHEN 'answer' THEN EXISTS (SELECT 1 FROM {calls} WHERE run_id = NEW.run_id AND turn = NEW.turn AND idx = NEW.idx
              AND answer = 'confirmed' AND answer_digest = NEW.decided_digest AND confirmed_version = version)
            ELSE EXISTS (SELECT 1 FROM {approvals} WHERE id = NEW.approval_id AND id = NEW.id
              AND approval_type = 'audit' AND status = 'approved' AND decided_digest = NEW.decided_digest) END) THEN
            RAISE EXCEPTION 'kern: an execution starts with what allows it';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id IS DISTINCT FROM OLD.id OR NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.turn IS DISTINCT FROM OLD.turn OR NEW.idx IS DISTINCT FROM OLD.idx
          OR NEW.generation IS DISTINCT FROM OLD.generation OR NEW.approval_id IS DISTINCT FROM OLD.approval_id
          OR NEW.authority IS DISTINCT FROM OLD.authority OR NEW.tool_name IS DISTINCT FROM OLD.tool_name
          OR (NEW.arguments IS DISTINCT FROM OLD.arguments AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL))
          OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest
          OR NEW.valid_until_ms IS DISTINCT FROM OLD.valid_until_ms OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms
          OR NEW.fence < OLD.fence OR NEW.attempt < OLD.attempt THEN
            RAISE EXCEPTION 'kern: what may run does not change';
        END IF;
        IF NEW.status IS DISTINCT FROM OLD.status AND NOT (
             (OLD.status = 'ready' AND NEW.status IN ('abandoned', 'succeeded') AND OLD.attempt = 0)
          OR (OLD.status = 'ready' AND NEW.status = 'unknown' AND (OLD.attempt > 0 OR EXISTS (
                SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                  AND generation = OLD.generation AND (policy::json ->> 'pause') = 'external_execution')
                OR EXISTS (SELECT 1 FROM {store} WHERE state = 'quarantined')))
          OR (OLD.status = 'ready' AND NEW.status = 'executing' AND (OLD.attempt = 0 OR EXISTS (
                SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                  AND generation = OLD.generation AND (policy::json ->> 'effect') IN ('idempotent', 'transactional'))))
          OR (OLD.status = 'executing' AND NEW.status IN ('succeeded', 'failed', 'unknown'))
          OR (OLD.status = 'executing' AND NEW.status = 'ready' AND EXISTS (
                SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                  AND generation = OLD.generation AND (policy::json ->> 'effect') IN ('idempotent', 'transactional'))
              AND EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('RUNNING', 'PAUSED')))
          OR (OLD.status = 'unknown' AND NEW.status IN ('succeeded', 'failed', 'abandoned'))) THEN
            RAISE EXCEPTION 'kern: an execution does not go that way';
        END IF;
        IF (NEW.attempt IS DISTINCT FROM OLD.attempt OR NEW.fence IS DISTINCT FROM OLD.fence)
          AND NOT (OLD.status = 'ready' AND NEW.status = 'executing' AND NEW.attempt = OLD.attempt + 1 AND NEW.fence = OLD.fence + 1) THEN
            RAISE EXCEPTION 'kern: starts are counted one by one';
        END IF;
        IF OLD.status IN ('succeeded', 'failed', 'abandoned') AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
          AND (NEW.status IS DISTINCT FROM OLD.status OR NEW.owner IS DISTINCT FROM OLD.owner
            OR NEW.lease_until_ms IS DISTINCT FROM OLD.lease_until_ms OR NEW.result IS DISTINCT FROM OLD.result
            OR NEW.error IS DISTINCT FROM OLD.error OR NEW.settled_by IS DISTINCT FROM OLD.settled_by
            OR NEW.note IS DISTINCT FROM OLD.note OR NEW.started_at_ms IS DISTINCT FROM OLD.started_at_ms
            OR NEW.finished_at_ms IS DISTINCT FROM OLD.finished_at_ms OR NEW.erased_at_ms IS DISTINCT FROM OLD.erased_at_ms) THEN
            RAISE EXCEPTION 'kern: an outcome does not change';
        END IF;
        IF (NEW.late_status IS DISTINCT FROM OLD.late_status OR NEW.late_result IS DISTINCT FROM OLD.late_result) AND NOT (
             (OLD.late_status IS NULL AND NEW.late_status IS NOT NULL AND NEW.late_result IS NOT NULL)
          OR (NEW.late_status IS NOT DISTINCT FROM OLD.late_status AND NEW.late_result IS NULL
              AND EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND erased_at_ms IS NOT NULL))) THEN
            RAISE EXCEPTION 'kern: what was reported too late is kept once, until it is erased';
        END IF;
        IF NEW.erased_at_ms IS DISTINCT FROM OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL
              OR NEW.status IS DISTINCT FROM OLD.status
              OR NEW.attempt IS DISTINCT FROM OLD.attempt
              OR NEW.fence IS DISTINCT FROM OLD.fence
              OR NEW.owner IS DISTINCT FROM OLD.owner
              OR NEW.lease_until_ms IS DISTINCT FROM OLD.lease_until_ms
              OR NEW.result IS DISTINCT FROM OLD.result
              OR NEW.error IS DISTINCT FROM OLD.error
              OR NEW.settled_by IS DISTINCT FROM OLD.settled_by
              OR NEW.note IS DISTINCT FROM OLD.note
              OR NEW.started_at_ms IS DISTINCT FROM OLD.started_at_ms
              OR NEW.finished_at_ms IS DISTINCT FROM OLD.finished_at_ms
              OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                          AND erased_at_ms IS NOT NULL)
              OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                          AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.arguments))) THEN
            RAISE EXCEPTION 'kern: an erasure takes out the secrets, and nothing else';
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

-- Audit.

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

-- Pools.

CREATE FUNCTION {pools}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: pools are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.name IS DISTINCT FROM OLD.name THEN
            RAISE EXCEPTION 'kern: what a pool is called does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {pools}_guard BEFORE UPDATE OR DELETE ON {pools}
FOR EACH ROW EXECUTE FUNCTION {pools}_guard();
CREATE TRIGGER {pools}_no_truncate BEFORE TRUNCATE ON {pools}
FOR EACH STATEMENT EXECUTE FUNCTION {pools}_guard();
ALTER TABLE {pools} ENABLE ALWAYS TRIGGER {pools}_guard;
ALTER TABLE {pools} ENABLE ALWAYS TRIGGER {pools}_no_truncate;

-- Checkpoints.

CREATE FUNCTION {checkpoints}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: checkpoints are never deleted';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (SELECT 1 FROM {checkpoints} WHERE size >= NEW.size) THEN
            RAISE EXCEPTION 'kern: checkpoints follow each other';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.size IS DISTINCT FROM OLD.size OR NEW.origin IS DISTINCT FROM OLD.origin
      OR NEW.head IS DISTINCT FROM OLD.head OR NEW.time_ms IS DISTINCT FROM OLD.time_ms
      OR NEW.previous IS DISTINCT FROM OLD.previous OR NEW.signature IS DISTINCT FROM OLD.signature THEN
        RAISE EXCEPTION 'kern: what a checkpoint says does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {checkpoints}_guard BEFORE INSERT OR UPDATE OR DELETE ON {checkpoints}
FOR EACH ROW EXECUTE FUNCTION {checkpoints}_guard();
CREATE TRIGGER {checkpoints}_no_truncate BEFORE TRUNCATE ON {checkpoints}
FOR EACH STATEMENT EXECUTE FUNCTION {checkpoints}_guard();
ALTER TABLE {checkpoints} ENABLE ALWAYS TRIGGER {checkpoints}_guard;
ALTER TABLE {checkpoints} ENABLE ALWAYS TRIGGER {checkpoints}_no_truncate;

-- Keys.

CREATE FUNCTION {keys}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: keys are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id IS DISTINCT FROM OLD.id OR NEW.secret_hash IS DISTINCT FROM OLD.secret_hash
          OR NEW.subject IS DISTINCT FROM OLD.subject OR NEW.scopes IS DISTINCT FROM OLD.scopes
          OR NEW.created_by IS DISTINCT FROM OLD.created_by OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms
          OR NEW.expires_at_ms IS DISTINCT FROM OLD.expires_at_ms THEN
            RAISE EXCEPTION 'kern: what a key is does not change';
        END IF;
        IF OLD.revoked_at_ms IS NOT NULL AND (NEW.revoked_at_ms IS DISTINCT FROM OLD.revoked_at_ms
          OR NEW.revoked_by IS DISTINCT FROM OLD.revoked_by) THEN
            RAISE EXCEPTION 'kern: a revoked key stays revoked';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {keys}_guard BEFORE UPDATE OR DELETE ON {keys}
FOR EACH ROW EXECUTE FUNCTION {keys}_guard();
CREATE TRIGGER {keys}_no_truncate BEFORE TRUNCATE ON {keys}
FOR EACH STATEMENT EXECUTE FUNCTION {keys}_guard();
ALTER TABLE {keys} ENABLE ALWAYS TRIGGER {keys}_guard;
ALTER TABLE {keys} ENABLE ALWAYS TRIGGER {keys}_no_truncate;

-- Webhooks.

CREATE FUNCTION {webhooks}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'kern: who is told of events is not forgotten at once';
    END IF;
    IF NEW.name IS DISTINCT FROM OLD.name OR NEW.since_ms IS DISTINCT FROM OLD.since_ms THEN
        RAISE EXCEPTION 'kern: since when a webhook is told does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {webhooks}_guard BEFORE UPDATE ON {webhooks}
FOR EACH ROW EXECUTE FUNCTION {webhooks}_guard();
CREATE TRIGGER {webhooks}_no_truncate BEFORE TRUNCATE ON {webhooks}
FOR EACH STATEMENT EXECUTE FUNCTION {webhooks}_guard();
ALTER TABLE {webhooks} ENABLE ALWAYS TRIGGER {webhooks}_guard;
ALTER TABLE {webhooks} ENABLE ALWAYS TRIGGER {webhooks}_no_truncate;

-- Deliveries.

CREATE FUNCTION {deliveries}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'kern: what waits to be delivered is not deleted';
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.status = 'pending' THEN
            RAISE EXCEPTION 'kern: what waits to be delivered is not deleted';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.event_id IS DISTINCT FROM OLD.event_id OR NEW.webhook IS DISTINCT FROM OLD.webhook
      OR NEW.topic IS DISTINCT FROM OLD.topic OR NEW.run_id IS DISTINCT FROM OLD.run_id
      OR NEW.approval_id IS DISTINCT FROM OLD.approval_id OR NEW.execution_id IS DISTINCT FROM OLD.execution_id
      OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.attempts < OLD.attempts THEN
        RAISE EXCEPTION 'kern: what is delivered does not change';
    END IF;
    IF OLD.status <> 'pending' THEN
        RAISE EXCEPTION 'kern: a delivery that has ended does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {deliveries}_guard BEFORE UPDATE OR DELETE ON {deliveries}
FOR EACH ROW EXECUTE FUNCTION {deliveries}_guard();
CREATE TRIGGER {deliveries}_no_truncate BEFORE TRUNCATE ON {deliveries}
FOR EACH STATEMENT EXECUTE FUNCTION {deliveries}_guard();
ALTER TABLE {deliveries} ENABLE ALWAYS TRIGGER {deliveries}_guard;
ALTER TABLE {deliveries} ENABLE ALWAYS TRIGGER {deliveries}_no_truncate;

-- The store itself.

CREATE FUNCTION {store}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: what a store is does not go';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (SELECT 1 FROM {store}) THEN
            RAISE EXCEPTION 'kern: a store has one row about itself';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.store_id IS DISTINCT FROM OLD.store_id OR NEW.shards IS DISTINCT FROM OLD.shards OR NEW.resets < OLD.resets
      OR (NEW.epoch IS DISTINCT FROM OLD.epoch AND NOT (OLD.state = 'quarantined' AND NEW.state = 'open')) THEN
        RAISE EXCEPTION 'kern: what a store is does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {store}_guard BEFORE INSERT OR UPDATE OR DELETE ON {store}
FOR EACH ROW EXECUTE FUNCTION {store}_guard();
CREATE TRIGGER {store}_no_truncate BEFORE TRUNCATE ON {store}
FOR EACH STATEMENT EXECUTE FUNCTION {store}_guard();
ALTER TABLE {store} ENABLE ALWAYS TRIGGER {store}_guard;
ALTER TABLE {store} ENABLE ALWAYS TRIGGER {store}_no_truncate;

-- The append: numbers the entries of a transaction, chains them and adds them. kern calls it in the message of the COMMIT, as the last
-- statement of a transaction: a client that stops before it has sent that message holds rows, and never a shard.
-- VOLATILE, and the lock in a statement of its own: the statement that reads the head sees what was committed when it began. One
-- statement that locks and reads would have read the head from before its wait, and so would a STABLE function.
CREATE FUNCTION {audit}_append(this_shard bigint, this_resets bigint, entries json) RETURNS text LANGUAGE plpgsql VOLATILE
SET search_path = {schema}, pg_temp AS $append$
DECLARE
    id text;
    resets_now bigint;
    last_seq bigint;
    last_ms bigint;
    last_hash text;
    this_hash text;
    entry record;
    field text;
    fields bytea;
    named bigint;
BEGIN
    PERFORM pg_advisory_xact_lock('{audit}'::regclass::oid::int, this_shard::int);
    SELECT store_id, resets INTO STRICT id, resets_now FROM {store};
    -- Without it, a transaction that has read its time before an operator has set the time back would write it afterwards.
    IF resets_now <> this_resets THEN
        RAISE EXCEPTION 'kern: the time of the store was set back meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    SELECT seq, at_ms, hash INTO STRICT last_seq, last_ms, last_hash
    FROM {audit} WHERE shard = this_shard ORDER BY seq DESC LIMIT 1;
    FOR entry IN
        SELECT * FROM json_to_recordset(entries) AS e (
            now_ms bigint, actor text, action text, evidence bigint, root_run_id text, run_id text, turn bigint, idx bigint,
            approval_id text, execution_id text, tool_name text, call_digest text, payload text, entry_digest text, asks json)
    LOOP
        last_seq := last_seq + 1;
        last_ms := greatest(last_ms, entry.now_ms);
        fields := '';
        FOREACH field IN ARRAY ARRAY['kern/audit/v2', id, this_shard::text, last_seq::text, last_ms::text,
                                     entry.entry_digest, last_hash]
        LOOP
            fields := fields || int8send(octet_length(field)) || convert_to(field, 'UTF8');
        END LOOP;
        this_hash := encode(sha256(fields), 'hex');
        INSERT INTO {audit} (shard, seq, at_ms, now_ms, actor, action, evidence, root_run_id, run_id, turn, idx, approval_id,
                             execution_id, tool_name, call_digest, payload, prev_hash, hash)
        VALUES (this_shard, last_seq, last_ms, entry.now_ms, entry.actor, entry.action, entry.evidence, entry.root_run_id,
                entry.run_id, entry.turn, entry.idx, entry.approval_id, entry.execution_id, entry.tool_name,
                entry.call_digest, entry.payload, last_hash, this_hash);
        -- The row of a call names the entry in which it was asked for. This transaction has it locked: nothing is waited for.
        UPDATE {calls} SET asked_shard = this_shard, asked_seq = last_seq
        WHERE run_id = entry.run_id AND turn = entry.turn
          AND idx IN (SELECT value::bigint FROM json_array_elements_text(entry.asks));
        GET DIAGNOSTICS named = ROW_COUNT;
        IF named <> json_array_length(entry.asks) THEN
            RAISE EXCEPTION 'kern: a call is asked for that is not there';
        END IF;
        last_hash := this_hash;
    END LOOP;
    RETURN last_seq || ' ' || last_hash;
END $append$;
