-- One row per flow: a channel, an element and a lane. The row is the flow's cursor and its books
-- (DATA-PLANE, rules 31 and 32): it moves by compare-and-set together with the usage it causes.
CREATE TABLE flows (
    tenant_id UUID NOT NULL,
    channel_id UUID NOT NULL,
    element_id UUID NOT NULL,
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
    open_since TIMESTAMPTZ NOT NULL,
    open_after BIGINT NOT NULL,
    open_records BIGINT NOT NULL,
    open_bytes BIGINT NOT NULL,
    last_delivery_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, channel_id, element_id, lane)
);
CREATE INDEX flows_by_channel ON flows (channel_id);

-- What a channel has used of its quota in the current period.
CREATE TABLE quota_spent (
    tenant_id UUID NOT NULL,
    channel_id UUID NOT NULL,
    period_start TIMESTAMPTZ NOT NULL,
    records BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);

-- Records that the receiver of a data-out channel refused, kept whole.
CREATE TABLE refused_deliveries (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    channel_id UUID NOT NULL,
    element_id UUID NOT NULL,
    lane TEXT NOT NULL,
    record_offset BIGINT NOT NULL,
    reason TEXT NOT NULL,
    model_version BIGINT NOT NULL,
    raw TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, channel_id, element_id, lane, record_offset)
);
CREATE INDEX refused_deliveries_by_channel ON refused_deliveries (channel_id, id);

ALTER TABLE flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE flows FORCE ROW LEVEL SECURITY;
ALTER TABLE quota_spent ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota_spent FORCE ROW LEVEL SECURITY;
ALTER TABLE refused_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE refused_deliveries FORCE ROW LEVEL SECURITY;

CREATE POLICY flows_app ON flows TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY flows_engine_read ON flows FOR SELECT TO headgate_engine USING (true);
CREATE POLICY flows_engine_insert ON flows FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY flows_engine_update ON flows FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY flows_engine_delete ON flows FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

CREATE POLICY quota_spent_app ON quota_spent TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY quota_spent_engine_read ON quota_spent FOR SELECT TO headgate_engine USING (true);
CREATE POLICY quota_spent_engine_insert ON quota_spent FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY quota_spent_engine_update ON quota_spent FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY quota_spent_engine_delete ON quota_spent FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

CREATE POLICY refused_deliveries_app ON refused_deliveries TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY refused_deliveries_engine_read ON refused_deliveries FOR SELECT TO headgate_engine USING (true);
CREATE POLICY refused_deliveries_engine_insert ON refused_deliveries FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY refused_deliveries_engine_update ON refused_deliveries FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY refused_deliveries_engine_delete ON refused_deliveries FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
