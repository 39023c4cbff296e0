-- API keys. {name} stands for the table's name in this database.

CREATE TABLE {keys} (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret, which is nowhere.
    secret_hash TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    -- JSON: a list of words.
    scopes TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    revoked_by TEXT COLLATE "C",
    revoked_at_ms BIGINT
);
CREATE FUNCTION {keys}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: keys are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id IS DISTINCT FROM OLD.id OR NEW.secret_hash IS DISTINCT FROM OLD.secret_hash
          OR NEW.subject IS DISTINCT FROM OLD.subject OR NEW.scopes IS DISTINCT FROM OLD.scopes
          OR NEW.created_by IS DISTINCT FROM OLD.created_by OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms
          OR NEW.expires_at_ms IS DISTINCT FROM OLD.expires_at_ms THEN
            RAISE EXCEPTION 'kern: what a key is does not change';
        END IF;
        IF OLD.revoked_at_ms IS NOT NULL AND (NEW.revoked_at_ms IS DISTINCT FROM OLD.revoked_at_ms
          OR NEW.revoked_by IS DISTINCT FROM OLD.revoked_by) THEN
            RAISE EXCEPTION 'kern: a revoked key stays revoked';
        END IF;
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {keys}_guard BEFORE UPDATE OR DELETE ON {keys}
FOR EACH ROW EXECUTE FUNCTION {keys}_guard();
CREATE TRIGGER {keys}_no_truncate BEFORE TRUNCATE ON {keys}
FOR EACH STATEMENT EXECUTE FUNCTION {keys}_guard();
ALTER TABLE {keys} ENABLE ALWAYS TRIGGER {keys}_guard;
ALTER TABLE {keys} ENABLE ALWAYS TRIGGER {keys}_no_truncate;

-- What the log has of one key, which is asked whenever the key is used: by the id in the place of a call's digest.
CREATE INDEX idx_{audit}_of_no_run ON {audit} (call_digest) WHERE run_id IS NULL;
