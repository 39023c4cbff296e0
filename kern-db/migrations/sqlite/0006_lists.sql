-- What lists of approvals, runs and sessions are found by, and kept counts. {name} stands for the table's name in this database.

-- Who asked for a run: the subject of `requester`.
ALTER TABLE {runs} ADD COLUMN user_id TEXT;
DROP TRIGGER {runs}_ended;
UPDATE {runs} SET user_id = json_extract(requester, '$.subject') WHERE requester IS NOT NULL;
-- SQLite ends a text of JSON at its first NUL.
UPDATE {runs} SET user_id = replace(json_extract(replace(requester, '\u0000', '\uffff'), '$.subject'), char(65535), char(0))
WHERE instr(requester, '\u0000') > 0;
CREATE TRIGGER {runs}_ended BEFORE UPDATE ON {runs}
WHEN OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
  OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL
  AND NEW.status IS OLD.status AND NEW.owner IS OLD.owner AND NEW.fence IS OLD.fence
  AND NEW.lease_until_ms IS OLD.lease_until_ms AND NEW.turn IS OLD.turn AND NEW.recoveries IS OLD.recoveries
  AND NEW.attention IS OLD.attention AND NEW.agent_name IS OLD.agent_name AND NEW.updated_at_ms IS OLD.updated_at_ms)
BEGIN SELECT RAISE(ABORT, 'kern: a run that has ended does not change'); END;
DROP TRIGGER {runs}_identity;
CREATE TRIGGER {runs}_identity BEFORE UPDATE ON {runs}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.session_id IS NOT OLD.session_id OR NEW.agent_id IS NOT OLD.agent_id
  OR NEW.requester IS NOT OLD.requester OR NEW.user_id IS NOT OLD.user_id
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.fence < OLD.fence
BEGIN SELECT RAISE(ABORT, 'kern: who asked for a run does not change'); END;
-- All that a list of sessions reads of a run, so that it reads no snapshots.
CREATE INDEX idx_{runs}_user_id ON {runs} (user_id, run_id, session_id, agent_id, updated_at_ms);

-- Approvals, newest first. Hidden rows are in no list, and so in none of these indexes.
DROP INDEX idx_{approvals}_created_at;
DROP INDEX idx_{approvals}_status;
DROP INDEX idx_{approvals}_user_id;
CREATE INDEX idx_{approvals}_created_at ON {approvals} (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_status ON {approvals} (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id ON {approvals} (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_{approvals}_user_id_status ON {approvals} (user_id, status, created_at, id) WHERE deleted_at IS NULL;

-- How many approvals in each state are not hidden: of everybody (`*`), and of each user (`=` and the name). SQLite would have to
-- count them one by one. Triggers keep it, in the transaction that changes the rows.
CREATE TABLE {approvals}_counts (
    whose TEXT NOT NULL PRIMARY KEY,
    pending INTEGER NOT NULL DEFAULT 0,
    approved INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO {approvals}_counts (whose, pending, approved, rejected, expired, cancelled)
SELECT '*', count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'approved'),
  count(*) FILTER (WHERE status = 'rejected'), count(*) FILTER (WHERE status = 'expired'),
  count(*) FILTER (WHERE status = 'cancelled') FROM {approvals} WHERE deleted_at IS NULL;
INSERT INTO {approvals}_counts (whose, pending, approved, rejected, expired, cancelled)
SELECT '=' || user_id, count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'approved'),
  count(*) FILTER (WHERE status = 'rejected'), count(*) FILTER (WHERE status = 'expired'),
  count(*) FILTER (WHERE status = 'cancelled') FROM {approvals} WHERE deleted_at IS NULL AND user_id IS NOT NULL
  GROUP BY user_id;
CREATE TRIGGER {approvals}_counted AFTER INSERT ON {approvals}
WHEN NEW.deleted_at IS NULL
BEGIN
  INSERT INTO {approvals}_counts (whose) SELECT '=' || NEW.user_id WHERE NEW.user_id IS NOT NULL
  ON CONFLICT (whose) DO NOTHING;
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending'),
    approved = approved + (NEW.status = 'approved'),
    rejected = rejected + (NEW.status = 'rejected'),
    expired = expired + (NEW.status = 'expired'),
    cancelled = cancelled + (NEW.status = 'cancelled')
  WHERE whose IN ('*', '=' || NEW.user_id);
END;
-- Who asked never changes.
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
  WHERE whose IN ('*', '=' || NEW.user_id);
END;
