-- Requests that came with an idempotency key, and what they were answered. {name} stands for the table's name in this
-- database. Nothing here decides about a call: a row only says what is answered when the same request comes again.

CREATE TABLE {requests} (
    owner TEXT COLLATE "C" NOT NULL,
    request_key TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    status BIGINT,
    content_type TEXT COLLATE "C",
    body TEXT COLLATE "C",
    PRIMARY KEY (owner, request_key)
);
CREATE INDEX idx_{requests}_age ON {requests} (created_at_ms);
