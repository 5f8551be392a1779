-- One row per flow: a channel, an element and a lane. The row is the flow's cursor and its books
-- (DATA-PLANE, rules 31 and 32): it moves by compare-and-set together with the usage it causes.
CREATE TABLE flows (
    tenant_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    element_id BLOB NOT NULL,
    lane TEXT NOT NULL,
    -- The flow carries (starts_after, ends_at]; a live flow has no end.
    starts_after BIGINT NOT NULL,
    ends_at BIGINT,
    -- Everything through here is in the channel's resource and in the books.
    booked BIGINT NOT NULL,
    -- Totals of (starts_after, booked].
    records BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    -- Passed over: beyond the quota, and refused by the receiver.
    over_quota BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    -- The part of them not yet cut into a usage record: (open_after, booked].
    open_since TEXT NOT NULL,
    open_after BIGINT NOT NULL,
    open_records BIGINT NOT NULL,
    open_bytes BIGINT NOT NULL,
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
    records BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);
