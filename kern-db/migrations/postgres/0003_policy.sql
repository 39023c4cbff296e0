-- Pools, starts that are made again, and calls that are run again. {name} stands for the table's name in this database.

-- Who may decide where a policy names the pool.
CREATE TABLE {pools} (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    members TEXT COLLATE "C" NOT NULL,
    set_by TEXT COLLATE "C",
    set_at_ms BIGINT NOT NULL
);
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

-- What is past its time.
CREATE INDEX idx_{approvals}_due ON {approvals} (status, expires_at);
CREATE INDEX idx_{executions}_void ON {executions} (status, valid_until_ms);

-- Executions. A start that is lost is given up for another one only where the stored policy lets it be, and while its run is
-- open; what has started is never as if it had not.

CREATE OR REPLACE FUNCTION {executions}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
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
             (OLD.status = 'ready' AND NEW.status IN ('abandoned', 'succeeded') AND OLD.attempt = 0)
          OR (OLD.status = 'ready' AND NEW.status = 'unknown' AND OLD.attempt > 0)
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
        IF OLD.status IN ('succeeded', 'failed', 'abandoned') THEN
            RAISE EXCEPTION 'kern: an outcome does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;

-- Calls. One whose end nobody knows may be asked for again, word for word, once somebody has settled it so; what was never
-- started may be asked for again with another tool, and then nothing of it has ever started. What may have happened already
-- keeps its arguments, and with them its idempotency key.

CREATE OR REPLACE FUNCTION {calls}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: calls are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.turn IS DISTINCT FROM OLD.turn OR NEW.idx IS DISTINCT FROM OLD.idx
          OR NEW.tool_call_id IS DISTINCT FROM OLD.tool_call_id OR NEW.tool_name IS DISTINCT FROM OLD.tool_name
          OR (NEW.generation IS NOT DISTINCT FROM OLD.generation AND (NEW.requirement_id IS DISTINCT FROM OLD.requirement_id
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
          AND (NEW.arguments IS DISTINCT FROM OLD.arguments OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
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
        IF OLD.answer = 'rejected' AND NEW.answer IS DISTINCT FROM 'rejected' THEN
            RAISE EXCEPTION 'kern: a no is final';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
