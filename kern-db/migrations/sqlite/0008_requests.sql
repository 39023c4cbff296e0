-- Requests that came with an idempotency key, and what they were answered. {name} stands for the table's name in this
-- database. Nothing here decides about a call: a row only says what is answered when the same request comes again.

CREATE TABLE {requests} (
    owner TEXT NOT NULL,
    request_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    run_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    status INTEGER,
    content_type TEXT,
    body TEXT,
    PRIMARY KEY (owner, request_key)
) STRICT;
CREATE INDEX idx_{requests}_age ON {requests} (created_at_ms);
