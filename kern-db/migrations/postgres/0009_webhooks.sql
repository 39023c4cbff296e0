-- Webhooks, and events on their way to them. {name} stands for the table's name in this database.

-- Who is told of events. Neither an address nor a secret is here: whoever sends brings them along.
CREATE TABLE {webhooks} (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- JSON: a list of words.
    topics TEXT COLLATE "C" NOT NULL,
    -- What was committed before is none of its business.
    since_ms BIGINT NOT NULL,
    -- When a process last said that it sends to it.
    seen_at_ms BIGINT NOT NULL
);
CREATE FUNCTION {webhooks}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'kern: who is told of events is not forgotten at once';
    END IF;
    IF NEW.name IS DISTINCT FROM OLD.name OR NEW.since_ms IS DISTINCT FROM OLD.since_ms THEN
        RAISE EXCEPTION 'kern: since when a webhook is told does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {webhooks}_guard BEFORE UPDATE ON {webhooks}
FOR EACH ROW EXECUTE FUNCTION {webhooks}_guard();
CREATE TRIGGER {webhooks}_no_truncate BEFORE TRUNCATE ON {webhooks}
FOR EACH STATEMENT EXECUTE FUNCTION {webhooks}_guard();
ALTER TABLE {webhooks} ENABLE ALWAYS TRIGGER {webhooks}_guard;
ALTER TABLE {webhooks} ENABLE ALWAYS TRIGGER {webhooks}_no_truncate;

-- One event on its way to one webhook: what the outbox had of it, and how far it is.
CREATE TABLE {deliveries} (
    event_id TEXT COLLATE "C" NOT NULL,
    webhook TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C",
    approval_id TEXT COLLATE "C",
    execution_id TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    -- The fence of the last one, too.
    attempts BIGINT NOT NULL,
    -- When it may be begun again: after a failure, or after the lease of whoever is at it.
    due_at_ms BIGINT NOT NULL,
    outcome TEXT COLLATE "C",
    ended_at_ms BIGINT,
    PRIMARY KEY (event_id, webhook)
);
CREATE INDEX idx_{deliveries}_due ON {deliveries} (webhook, status, due_at_ms, event_id);
CREATE INDEX idx_{deliveries}_ended ON {deliveries} (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE FUNCTION {deliveries}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'kern: what waits to be delivered is not deleted';
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.status = 'pending' THEN
            RAISE EXCEPTION 'kern: what waits to be delivered is not deleted';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.event_id IS DISTINCT FROM OLD.event_id OR NEW.webhook IS DISTINCT FROM OLD.webhook
      OR NEW.topic IS DISTINCT FROM OLD.topic OR NEW.run_id IS DISTINCT FROM OLD.run_id
      OR NEW.approval_id IS DISTINCT FROM OLD.approval_id OR NEW.execution_id IS DISTINCT FROM OLD.execution_id
      OR NEW.created_at_ms IS DISTINCT FROM OLD.created_at_ms OR NEW.attempts < OLD.attempts THEN
        RAISE EXCEPTION 'kern: what is delivered does not change';
    END IF;
    IF OLD.status <> 'pending' THEN
        RAISE EXCEPTION 'kern: a delivery that has ended does not change';
    END IF;
    RETURN NEW;
END $guard$;
CREATE TRIGGER {deliveries}_guard BEFORE UPDATE OR DELETE ON {deliveries}
FOR EACH ROW EXECUTE FUNCTION {deliveries}_guard();
CREATE TRIGGER {deliveries}_no_truncate BEFORE TRUNCATE ON {deliveries}
FOR EACH STATEMENT EXECUTE FUNCTION {deliveries}_guard();
ALTER TABLE {deliveries} ENABLE ALWAYS TRIGGER {deliveries}_guard;
ALTER TABLE {deliveries} ENABLE ALWAYS TRIGGER {deliveries}_no_truncate;
