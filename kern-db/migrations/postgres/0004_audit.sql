-- Checkpoints of the audit log. {name} stands for the table's name in this database.

CREATE TABLE {checkpoints} (
    size BIGINT NOT NULL PRIMARY KEY,
    origin TEXT COLLATE "C" NOT NULL,
    head TEXT COLLATE "C" NOT NULL,
    time_ms BIGINT NOT NULL,
    previous TEXT COLLATE "C" NOT NULL,
    signature TEXT COLLATE "C" NOT NULL,
    -- JSON: the sinks that have it.
    delivered TEXT COLLATE "C" NOT NULL
);
CREATE FUNCTION {checkpoints}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: checkpoints are never deleted';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (SELECT 1 FROM {checkpoints} WHERE size >= NEW.size) THEN
            RAISE EXCEPTION 'kern: checkpoints follow each other';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.size IS DISTINCT FROM OLD.size OR NEW.origin IS DISTINCT FROM OLD.origin
      OR NEW.head IS DISTINCT FROM OLD.head OR NEW.time_ms IS DISTINCT FROM OLD.time_ms
      OR NEW.previous IS DISTINCT FROM OLD.previous OR NEW.signature IS DISTINCT FROM OLD.signature THEN
        RAISE EXCEPTION 'kern: what a checkpoint says does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {checkpoints}_guard BEFORE INSERT OR UPDATE OR DELETE ON {checkpoints}
FOR EACH ROW EXECUTE FUNCTION {checkpoints}_guard();
CREATE TRIGGER {checkpoints}_no_truncate BEFORE TRUNCATE ON {checkpoints}
FOR EACH STATEMENT EXECUTE FUNCTION {checkpoints}_guard();
ALTER TABLE {checkpoints} ENABLE ALWAYS TRIGGER {checkpoints}_guard;
ALTER TABLE {checkpoints} ENABLE ALWAYS TRIGGER {checkpoints}_no_truncate;
