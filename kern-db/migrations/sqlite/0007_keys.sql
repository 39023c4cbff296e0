-- API keys. {name} stands for the table's name in this database.

CREATE TABLE {keys} (
    id TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret, which is nowhere.
    secret_hash TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON: a list of words.
    scopes TEXT NOT NULL,
    created_by TEXT,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_by TEXT,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TRIGGER {keys}_no_delete BEFORE DELETE ON {keys}
BEGIN SELECT RAISE(ABORT, 'kern: keys are never deleted'); END;
CREATE TRIGGER {keys}_no_replace BEFORE INSERT ON {keys}
WHEN EXISTS (SELECT 1 FROM {keys} WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'kern: keys are never replaced'); END;
CREATE TRIGGER {keys}_identity BEFORE UPDATE ON {keys}
WHEN NEW.id IS NOT OLD.id OR NEW.secret_hash IS NOT OLD.secret_hash OR NEW.subject IS NOT OLD.subject
  OR NEW.scopes IS NOT OLD.scopes OR NEW.created_by IS NOT OLD.created_by
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.expires_at_ms IS NOT OLD.expires_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: what a key is does not change'); END;
CREATE TRIGGER {keys}_revoked BEFORE UPDATE ON {keys}
WHEN OLD.revoked_at_ms IS NOT NULL
  AND (NEW.revoked_at_ms IS NOT OLD.revoked_at_ms OR NEW.revoked_by IS NOT OLD.revoked_by)
BEGIN SELECT RAISE(ABORT, 'kern: a revoked key stays revoked'); END;

-- What the log has of one key, which is asked whenever the key is used: by the id in the place of a call's digest.
CREATE INDEX idx_{audit}_of_no_run ON {audit} (call_digest) WHERE run_id IS NULL;
