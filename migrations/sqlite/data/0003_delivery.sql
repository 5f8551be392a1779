-- One row per flow: a channel, an element and a lane. The row is the flow's cursor and its books
-- (DATA-PLANE, rules 31 and 32): it moves by compare-and-set together with the usage it causes.
CREATE TABLE flows (
    tenant_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    element_id BLOB NOT NULL,
    lane TEXT NOT NULL,
    -- The flow carries (starts_after, ends_at]; a live flow has no end.
    starts_after INTEGER NOT NULL,
    ends_at INTEGER,
    -- Everything through here is in the channel's resource and in the books.
    booked INTEGER NOT NULL,
    -- Totals of (starts_after, booked].
    records INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    -- Passed over: beyond the quota, and refused by the receiver.
    over_quota INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    -- The part of them not yet cut into a usage record: (open_after, booked].
    open_since TEXT NOT NULL,
    open_after INTEGER NOT NULL,
    open_records INTEGER NOT NULL,
    open_bytes INTEGER NOT NULL,
    last_delivery_at TEXT,
    finished_at TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id, element_id, lane)
);
CREATE INDEX flows_by_channel ON flows (channel_id);

-- What a channel has used of its quota in the current period.
CREATE TABLE quota_spent (
    tenant_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    period_start TEXT NOT NULL,
    records INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);

-- Records that the receiver of a data-out channel refused, kept whole.
CREATE TABLE refused_deliveries (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    element_id BLOB NOT NULL,
    lane TEXT NOT NULL,
    record_offset INTEGER NOT NULL,
    reason TEXT NOT NULL,
    model_version INTEGER NOT NULL,
    raw TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, channel_id, element_id, lane, record_offset)
);
CREATE INDEX refused_deliveries_by_channel ON refused_deliveries (channel_id, id);
