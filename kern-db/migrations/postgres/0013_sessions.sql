-- Sessions that somebody made, named or deleted. {name} stands for the table's name in this database.

-- What somebody said of a session. It decides nothing, and goes with the session.
CREATE TABLE {sessions} (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    requester TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    agent_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    metadata TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX idx_{sessions}_user_id ON {sessions} (user_id, session_id);

-- When the session of a run was deleted. The run has ended then, and stays.
ALTER TABLE {runs} ADD COLUMN deleted_at_ms BIGINT;
CREATE OR REPLACE FUNCTION {runs}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
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
              AND NEW.snapshot_salt IS NOT DISTINCT FROM OLD.snapshot_salt)
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
        IF NEW.deleted_at_ms IS DISTINCT FROM OLD.deleted_at_ms AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED') THEN
            RAISE EXCEPTION 'kern: only what has ended is deleted';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
-- Lists have none of them.
DROP INDEX idx_{runs}_session_id;
DROP INDEX idx_{runs}_user_id;
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id, run_id) WHERE deleted_at_ms IS NULL;
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id) WHERE deleted_at_ms IS NULL;
