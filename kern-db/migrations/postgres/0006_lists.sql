-- What lists of approvals, runs and sessions are found by. {name} stands for the table's name in this database.

-- Who asked for a run: the subject of `requester`. JSON writes a NUL as an escape that PostgreSQL reads as no text, so that it
-- becomes here what kern writes for it.
ALTER TABLE {runs} ADD COLUMN user_id TEXT COLLATE "C";
ALTER TABLE {runs} DISABLE TRIGGER {runs}_guard;
UPDATE {runs} SET user_id =
    regexp_replace(requester, '(?<!\\)((?:\\\\)*)\\u000([01])', '\1\\u0001\2', 'g')::json ->> 'subject'
WHERE requester IS NOT NULL;
ALTER TABLE {runs} ENABLE ALWAYS TRIGGER {runs}_guard;
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
          OR NEW.requester IS DISTINCT FROM OLD.requester OR NEW.user_id IS DISTINCT FROM OLD.user_id
          OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.fence < OLD.fence THEN
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
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id);

-- Approvals, newest first. Hidden rows are in no list, and so in none of these indexes. They are counted by them, too: a
-- kept count would be a row that every transaction waits for.
DROP INDEX idx_{approvals}_created_at;
DROP INDEX idx_{approvals}_status;
DROP INDEX idx_{approvals}_user_id;
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id_status ON {approvals} (user_id, status, created_at, id) WHERE deleted_at IS NULL;
