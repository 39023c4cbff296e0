-- Pools, starts that are made again, and calls that are run again. {name} stands for the table's name in this database.

-- Who may decide where a policy names the pool.
CREATE TABLE {pools} (
    name TEXT NOT NULL PRIMARY KEY,
    members TEXT NOT NULL,
    set_by TEXT,
    set_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER {pools}_no_delete BEFORE DELETE ON {pools}
BEGIN SELECT RAISE(ABORT, 'kern: pools are never deleted'); END;
CREATE TRIGGER {pools}_no_replace BEFORE INSERT ON {pools}
WHEN EXISTS (SELECT 1 FROM {pools} WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'kern: pools are never replaced'); END;
CREATE TRIGGER {pools}_identity BEFORE UPDATE ON {pools}
WHEN NEW.name IS NOT OLD.name
BEGIN SELECT RAISE(ABORT, 'kern: what a pool is called does not change'); END;

-- What is past its time.
CREATE INDEX idx_{approvals}_due ON {approvals} (status, expires_at);
CREATE INDEX idx_{executions}_void ON {executions} (status, valid_until_ms);

-- Executions. A start that is lost is given up for another one only where the stored policy lets it be, and while its run is
-- open; what has started is never as if it had not.

DROP TRIGGER {executions}_step;
CREATE TRIGGER {executions}_step BEFORE UPDATE ON {executions}
WHEN NEW.status IS NOT OLD.status AND NOT (
     (OLD.status = 'ready' AND NEW.status IN ('abandoned', 'succeeded') AND OLD.attempt = 0)
  OR (OLD.status = 'ready' AND NEW.status = 'unknown' AND OLD.attempt > 0)
  OR (OLD.status = 'ready' AND NEW.status = 'executing' AND (OLD.attempt = 0 OR EXISTS (
        SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
          AND generation = OLD.generation AND json_extract(policy, '$.effect') IN ('idempotent', 'transactional'))))
  OR (OLD.status = 'executing' AND NEW.status IN ('succeeded', 'failed', 'unknown'))
  OR (OLD.status = 'executing' AND NEW.status = 'ready' AND EXISTS (
        SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
          AND generation = OLD.generation AND json_extract(policy, '$.effect') IN ('idempotent', 'transactional'))
      AND EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('RUNNING', 'PAUSED')))
  OR (OLD.status = 'unknown' AND NEW.status IN ('succeeded', 'failed', 'abandoned')))
BEGIN SELECT RAISE(ABORT, 'kern: an execution does not go that way'); END;
CREATE TRIGGER {executions}_attempt BEFORE UPDATE ON {executions}
WHEN (NEW.attempt IS NOT OLD.attempt OR NEW.fence IS NOT OLD.fence)
  AND NOT (OLD.status = 'ready' AND NEW.status = 'executing' AND NEW.attempt = OLD.attempt + 1 AND NEW.fence = OLD.fence + 1)
BEGIN SELECT RAISE(ABORT, 'kern: starts are counted one by one'); END;

-- Calls. One whose end nobody knows may be asked for again, word for word, once somebody has settled it so; what was never
-- started may be asked for again with another tool, and then nothing of it has ever started.

DROP TRIGGER {calls}_generation;
CREATE TRIGGER {calls}_generation BEFORE UPDATE ON {calls}
WHEN NEW.generation IS NOT OLD.generation AND (NEW.generation <> OLD.generation + 1
  OR NEW.answer IS NOT NULL OR OLD.answer = 'rejected'
  OR EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND (status <> 'abandoned' OR (attempt <> 0 AND (settled_by IS NULL OR NEW.digest IS NOT OLD.digest
                                                              OR NEW.policy IS NOT OLD.policy))))
  OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND generation = OLD.generation AND approval_type = 'required' AND status NOT IN ('approved', 'cancelled')))
BEGIN SELECT RAISE(ABORT, 'kern: only what has not started is asked again, or what is to be run again'); END;
-- What may have happened already keeps its arguments, and with them its idempotency key.
CREATE TRIGGER {calls}_started BEFORE UPDATE ON {calls}
WHEN NEW.digest IS NOT OLD.digest
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx AND attempt > 0)
BEGIN SELECT RAISE(ABORT, 'kern: what has started once does not change'); END;
