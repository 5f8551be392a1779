-- What happened, per tenant in commit order, and where it is sent.

CREATE TABLE outbox (
    tenant_id  BLOB NOT NULL,
    -- 1, 2, 3 … in commit order, without a gap.
    sequence   INTEGER NOT NULL,
    id         BLOB NOT NULL,
    type       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, id)
);
CREATE INDEX outbox_by_age ON outbox (tenant_id, created_at);

CREATE TABLE outbox_heads (
    tenant_id   BLOB NOT NULL PRIMARY KEY,
    -- The last sequence given out.
    sequence    INTEGER NOT NULL,
    -- Events up to here were removed because of their age.
    removed_to  INTEGER NOT NULL
);

CREATE TABLE endpoints (
    tenant_id         BLOB NOT NULL,
    id                BLOB NOT NULL,
    url               TEXT NOT NULL,
    description       TEXT NOT NULL,
    -- JSON array of type names; empty: all.
    types             TEXT NOT NULL,
    state             TEXT NOT NULL,
    state_reason      TEXT,
    sealed            BLOB NOT NULL,
    -- The secret before the last rotation; both sign until its time is over.
    previous_sealed   BLOB,
    previous_until    TEXT,
    -- Events up to here have deliveries.
    dispatched_to     INTEGER NOT NULL,
    -- The first failure since the last success.
    failing_since     TEXT,
    version           INTEGER NOT NULL,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE event_deliveries (
    tenant_id   BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    event_id    BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    -- Of all rounds.
    attempts    INTEGER NOT NULL,
    -- Of this round: a resend starts the schedule anew.
    tries       INTEGER NOT NULL,
    -- When to try (next); a taken delivery is moved on by its lease.
    due_at      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX event_deliveries_due ON event_deliveries (state, due_at);

CREATE TABLE event_attempts (
    tenant_id    BLOB NOT NULL,
    endpoint_id  BLOB NOT NULL,
    event_id     BLOB NOT NULL,
    attempt      INTEGER NOT NULL,
    -- UUIDv7: orders a list of attempts.
    id           BLOB NOT NULL,
    at           TEXT NOT NULL,
    -- HTTP status, NULL when there was no answer.
    status       INTEGER,
    error        TEXT,
    -- The first 4 KiB of the answer.
    response     TEXT,
    milliseconds INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_id, attempt),
    FOREIGN KEY (tenant_id, endpoint_id, event_id)
        REFERENCES event_deliveries (tenant_id, endpoint_id, event_id) ON DELETE CASCADE
);
CREATE INDEX event_attempts_by_time ON event_attempts (tenant_id, endpoint_id, id);
