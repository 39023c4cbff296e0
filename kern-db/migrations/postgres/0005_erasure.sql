-- Salts of sensitive arguments, and their erasure once a run has ended. {name} stands for the table's name in this database.
-- A row from before has null in the new columns: its digests are over the arguments themselves, and stay so.

-- JSON: the salt of each sensitive property, by name. Null in there: it was erased.
ALTER TABLE {calls} ADD COLUMN salts TEXT COLLATE "C";
ALTER TABLE {calls} ADD COLUMN erased_at_ms BIGINT;
ALTER TABLE {approvals} ADD COLUMN erased_at_ms BIGINT;
ALTER TABLE {executions} ADD COLUMN erased_at_ms BIGINT;
-- Of the snapshot's digest.
ALTER TABLE {runs} ADD COLUMN snapshot_salt TEXT COLLATE "C";
ALTER TABLE {runs} ADD COLUMN erased_at_ms BIGINT;

-- Runs. One that has ended changes once more at most: its snapshot, when the secrets are taken out of it.

CREATE OR REPLACE FUNCTION {runs}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: runs are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
          OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL AND NOT (
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
        IF NEW.run_id IS DISTINCT FROM OLD.run_id OR NEW.session_id IS DISTINCT FROM OLD.session_id OR NEW.agent_id IS DISTINCT FROM OLD.agent_id
          OR NEW.requester IS DISTINCT FROM OLD.requester OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.fence < OLD.fence THEN
            RAISE EXCEPTION 'kern: who asked for a run does not change';
        END IF;
        IF (NEW.erased_at_ms IS DISTINCT FROM OLD.erased_at_ms
              OR (OLD.snapshot_salt IS NOT NULL AND NEW.snapshot_salt IS DISTINCT FROM OLD.snapshot_salt))
          AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED') THEN
            RAISE EXCEPTION 'kern: only what has ended is erased';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;

-- Calls. The secrets of a call are replaced by their commitments, its salts by nothing, and the rest stays as it is.

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

-- Approvals.

CREATE OR REPLACE FUNCTION {approvals}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
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
        IF OLD.status <> 'pending' AND (NEW.status IS DISTINCT FROM OLD.status 
          OR (NEW.tool_args IS DISTINCT FROM OLD.tool_args AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL))
          OR NEW.resolution_data IS DISTINCT FROM OLD.resolution_data OR NEW.resolved_by IS DISTINCT FROM OLD.resolved_by
          OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at OR NEW.version IS DISTINCT FROM OLD.version OR NEW.digest IS DISTINCT FROM OLD.digest
          OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest OR NEW.policy_digest IS DISTINCT FROM OLD.policy_digest
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

-- Executions.

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
          OR (NEW.arguments IS DISTINCT FROM OLD.arguments AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL))
          OR NEW.decided_digest IS DISTINCT FROM OLD.decided_digest
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
        IF OLD.status IN ('succeeded', 'failed', 'abandoned') AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL) THEN
            RAISE EXCEPTION 'kern: an outcome does not change';
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
