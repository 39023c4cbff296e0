-- Checkpoints of the audit log. {name} stands for the table's name in this database.

CREATE TABLE {checkpoints} (
    size INTEGER NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL,
    head TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    previous TEXT NOT NULL,
    signature TEXT NOT NULL,
    -- JSON: the sinks that have it.
    delivered TEXT NOT NULL
) STRICT;
CREATE TRIGGER {checkpoints}_no_delete BEFORE DELETE ON {checkpoints}
BEGIN SELECT RAISE(ABORT, 'kern: checkpoints are never deleted'); END;
CREATE TRIGGER {checkpoints}_no_replace BEFORE INSERT ON {checkpoints}
WHEN EXISTS (SELECT 1 FROM {checkpoints} WHERE size >= NEW.size)
BEGIN SELECT RAISE(ABORT, 'kern: checkpoints follow each other'); END;
CREATE TRIGGER {checkpoints}_identity BEFORE UPDATE ON {checkpoints}
WHEN NEW.size IS NOT OLD.size OR NEW.origin IS NOT OLD.origin OR NEW.head IS NOT OLD.head
  OR NEW.time_ms IS NOT OLD.time_ms OR NEW.previous IS NOT OLD.previous OR NEW.signature IS NOT OLD.signature
BEGIN SELECT RAISE(ABORT, 'kern: what a checkpoint says does not change'); END;
