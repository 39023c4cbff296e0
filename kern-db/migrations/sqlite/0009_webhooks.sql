-- Webhooks, and events on their way to them. {name} stands for the table's name in this database.

-- Who is told of events. Neither an address nor a secret is here: whoever sends brings them along.
CREATE TABLE {webhooks} (
    name TEXT NOT NULL PRIMARY KEY,
    -- JSON: a list of words.
    topics TEXT NOT NULL,
    -- What was committed before is none of its business.
    since_ms INTEGER NOT NULL,
    -- When a process last said that it sends to it.
    seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER {webhooks}_no_replace BEFORE INSERT ON {webhooks}
WHEN EXISTS (SELECT 1 FROM {webhooks} WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'kern: webhooks are never replaced'); END;
CREATE TRIGGER {webhooks}_identity BEFORE UPDATE ON {webhooks}
WHEN NEW.name IS NOT OLD.name OR NEW.since_ms IS NOT OLD.since_ms
BEGIN SELECT RAISE(ABORT, 'kern: since when a webhook is told does not change'); END;

-- One event on its way to one webhook: what the outbox had of it, and how far it is.
CREATE TABLE {deliveries} (
    event_id TEXT NOT NULL,
    webhook TEXT NOT NULL,
    topic TEXT NOT NULL,
    run_id TEXT,
    approval_id TEXT,
    execution_id TEXT,
    created_at_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    -- The fence of the last one, too.
    attempts INTEGER NOT NULL,
    -- When it may be begun again: after a failure, or after the lease of whoever is at it.
    due_at_ms INTEGER NOT NULL,
    outcome TEXT,
    ended_at_ms INTEGER,
    PRIMARY KEY (event_id, webhook)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_{deliveries}_due ON {deliveries} (webhook, status, due_at_ms, event_id);
CREATE INDEX idx_{deliveries}_ended ON {deliveries} (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE TRIGGER {deliveries}_no_delete BEFORE DELETE ON {deliveries}
WHEN OLD.status = 'pending'
BEGIN SELECT RAISE(ABORT, 'kern: what waits to be delivered is not deleted'); END;
CREATE TRIGGER {deliveries}_no_replace BEFORE INSERT ON {deliveries}
WHEN EXISTS (SELECT 1 FROM {deliveries} WHERE event_id = NEW.event_id AND webhook = NEW.webhook)
BEGIN SELECT RAISE(ABORT, 'kern: deliveries are never replaced'); END;
CREATE TRIGGER {deliveries}_identity BEFORE UPDATE ON {deliveries}
WHEN NEW.event_id IS NOT OLD.event_id OR NEW.webhook IS NOT OLD.webhook OR NEW.topic IS NOT OLD.topic
  OR NEW.run_id IS NOT OLD.run_id OR NEW.approval_id IS NOT OLD.approval_id OR NEW.execution_id IS NOT OLD.execution_id
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR NEW.attempts < OLD.attempts
BEGIN SELECT RAISE(ABORT, 'kern: what is delivered does not change'); END;
CREATE TRIGGER {deliveries}_ended BEFORE UPDATE ON {deliveries}
WHEN OLD.status IS NOT 'pending'
BEGIN SELECT RAISE(ABORT, 'kern: a delivery that has ended does not change'); END;
