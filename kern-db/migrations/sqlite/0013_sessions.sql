-- Sessions that somebody made, named or deleted. {name} stands for the table's name in this database.

-- What somebody said of a session. It decides nothing, and goes with the session.
CREATE TABLE {sessions} (
    session_id TEXT NOT NULL PRIMARY KEY,
    requester TEXT,
    user_id TEXT,
    agent_id TEXT,
    name TEXT,
    metadata TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_{sessions}_user_id ON {sessions} (user_id, session_id, agent_id, updated_at_ms);

-- When the session of a run was deleted. The run has ended then, and stays.
ALTER TABLE {runs} ADD COLUMN deleted_at_ms INTEGER;
DROP TRIGGER {runs}_ended;
CREATE TRIGGER {runs}_ended BEFORE UPDATE ON {runs}
WHEN OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
  (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL
    AND NEW.deleted_at_ms IS OLD.deleted_at_ms
  OR OLD.deleted_at_ms IS NULL AND NEW.deleted_at_ms IS NOT NULL AND NEW.erased_at_ms IS OLD.erased_at_ms
    AND NEW.snapshot IS OLD.snapshot AND NEW.snapshot_digest IS OLD.snapshot_digest
    AND NEW.snapshot_salt IS OLD.snapshot_salt)
  AND NEW.status IS OLD.status AND NEW.owner IS OLD.owner AND NEW.fence IS OLD.fence
  AND NEW.lease_until_ms IS OLD.lease_until_ms AND NEW.turn IS OLD.turn AND NEW.recoveries IS OLD.recoveries
  AND NEW.attention IS OLD.attention AND NEW.agent_name IS OLD.agent_name AND NEW.updated_at_ms IS OLD.updated_at_ms)
BEGIN SELECT RAISE(ABORT, 'kern: a run that has ended does not change'); END;
CREATE TRIGGER {runs}_deleted BEFORE UPDATE ON {runs}
WHEN NEW.deleted_at_ms IS NOT OLD.deleted_at_ms AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'kern: only what has ended is deleted'); END;
-- Lists have none of them. The column stands in the indexes, too: without it SQLite reads the rows to look at it.
DROP INDEX idx_{runs}_session_id;
DROP INDEX idx_{runs}_user_id;
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id, run_id, deleted_at_ms) WHERE deleted_at_ms IS NULL;
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id, session_id, agent_id, updated_at_ms, deleted_at_ms)
WHERE deleted_at_ms IS NULL;
