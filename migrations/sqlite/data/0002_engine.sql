-- How far the side streams of the element logs have become rows of the tables below.
CREATE TABLE ingest_cursor (
    one INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL
);

-- What became of each payload, derived from the logs.
CREATE TABLE receipts (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    element_id BLOB NOT NULL,
    feed TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    model_version INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    records INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    first_offset INTEGER,
    last_offset INTEGER,
    landed_at TEXT NOT NULL,
    conformed_at TEXT,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX receipts_by_channel ON receipts (channel_id, id);

-- Records that did not fit their input model, kept whole; derived from the logs.
CREATE TABLE dead_letters (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    element_id BLOB NOT NULL,
    feed TEXT NOT NULL,
    receipt_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    field_path TEXT,
    model_version INTEGER NOT NULL,
    raw TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX dead_letters_by_channel ON dead_letters (channel_id, id);
