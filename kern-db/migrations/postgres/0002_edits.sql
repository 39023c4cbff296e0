-- Edits by approvers, quorums, and asking again. {name} stands for the table's name in this database.
-- A row from before has null in the new columns: it is decided as ever, and cannot be edited by an approver.

-- What a call's arguments are checked against: canonical JSON, whose SHA-256 is `schema_hash`.
ALTER TABLE {calls} ADD COLUMN parameters TEXT COLLATE "C";
-- JSON: the fields that the tool leaves to people. Empty: all of them.
ALTER TABLE {calls} ADD COLUMN user_fields TEXT COLLATE "C";
-- Bytes of canonical arguments.
ALTER TABLE {calls} ADD COLUMN argument_limit BIGINT;
-- JSON: ids of the requirements of earlier generations.
ALTER TABLE {calls} ADD COLUMN earlier_requirements TEXT COLLATE "C";
-- Who wrote the current version, where it is not the model's. JSON.
ALTER TABLE {approvals} ADD COLUMN edited_by TEXT COLLATE "C";
-- JSON: the arguments that displays leave out.
ALTER TABLE {approvals} ADD COLUMN sensitive TEXT COLLATE "C";
-- What the voter sent along. JSON.
ALTER TABLE {votes} ADD COLUMN resolution_data TEXT COLLATE "C";

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
        IF NEW.sensitive IS DISTINCT FROM OLD.sensitive THEN
            RAISE EXCEPTION 'kern: what was asked does not change';
        END IF;
        IF NEW.edited_by IS DISTINCT FROM OLD.edited_by AND (OLD.status <> 'pending' OR NEW.version <= OLD.version) THEN
            RAISE EXCEPTION 'kern: who wrote a version does not change';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;

-- Calls. A tool that changed may be asked about again: then the call is another one in the same place, and nothing of the
-- older generation can start any more.

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
                     AND (status <> 'abandoned' OR attempt <> 0))
          OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                     AND generation = OLD.generation AND approval_type = 'required' AND status NOT IN ('approved', 'cancelled'))) THEN
            RAISE EXCEPTION 'kern: only what has not started is asked again';
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
        IF OLD.answer = 'rejected' AND NEW.answer IS DISTINCT FROM 'rejected' THEN
            RAISE EXCEPTION 'kern: a no is final';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
