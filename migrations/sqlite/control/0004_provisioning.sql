-- Orders, their steps, the resources they made, and who is working on them.

CREATE TABLE orders (
    tenant_id        BLOB NOT NULL,
    id               BLOB NOT NULL,
    channel_id       BLOB NOT NULL,
    direction        TEXT NOT NULL,
    kind             TEXT NOT NULL,
    -- Only one order that changes the spec of a channel is open at a time.
    exclusive        BOOLEAN NOT NULL,
    state            TEXT NOT NULL,
    ending           TEXT,
    phase            TEXT NOT NULL,
    position         INTEGER NOT NULL,
    step             TEXT,
    request          TEXT NOT NULL,
    -- What the channel was before a change order.
    previous         TEXT,
    result           TEXT NOT NULL,
    error            TEXT,
    price            TEXT,
    profile_revision INTEGER NOT NULL,
    requested_by     TEXT NOT NULL,
    request_id       TEXT,
    superseded_by    BLOB,
    attempts         INTEGER NOT NULL,
    run_at           TEXT NOT NULL,
    step_started_at  TEXT,
    created_at       TEXT NOT NULL,
    started_at       TEXT,
    finished_at      TEXT,
    updated_at       TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX orders_exclusive ON orders (tenant_id, channel_id)
    WHERE exclusive AND state IN ('PENDING', 'RUNNING');
CREATE INDEX orders_due ON orders (run_at) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX orders_by_channel ON orders (tenant_id, channel_id, id);

CREATE TABLE order_steps (
    tenant_id   BLOB NOT NULL,
    order_id    BLOB NOT NULL,
    phase       TEXT NOT NULL,
    position    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    message     TEXT,
    progress    TEXT,
    started_at  TEXT,
    finished_at TEXT,
    PRIMARY KEY (tenant_id, order_id, phase, position),
    FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
);

-- Written before a driver acts, so that whatever it leaves is known.
CREATE TABLE resources (
    tenant_id   BLOB NOT NULL,
    channel_id  BLOB NOT NULL,
    driver      TEXT NOT NULL,
    state       TEXT NOT NULL,
    url         TEXT,
    order_id    BLOB NOT NULL,
    attempts    INTEGER NOT NULL,
    error       TEXT,
    run_at      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);

CREATE INDEX resources_left_over ON resources (run_at) WHERE state = 'LEFT_OVER';

-- One worker per channel at a time. The epoch grows with every lease, so that a worker that lost
-- its lease cannot save.
CREATE TABLE order_leases (
    tenant_id  BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    owner      TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    until      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);
