-- How far the side streams of the element logs have become rows of the tables below.
CREATE TABLE ingest_cursor (
    one BIGINT PRIMARY KEY,
    sequence BIGINT NOT NULL
);

-- What became of each payload, derived from the logs.
CREATE TABLE receipts (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    channel_id UUID NOT NULL,
    element_id UUID NOT NULL,
    feed TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    model_version BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    records BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    first_offset BIGINT,
    last_offset BIGINT,
    landed_at TIMESTAMPTZ NOT NULL,
    conformed_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX receipts_by_channel ON receipts (channel_id, id);

-- Records that did not fit their input model, kept whole; derived from the logs.
CREATE TABLE dead_letters (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    channel_id UUID NOT NULL,
    element_id UUID NOT NULL,
    feed TEXT NOT NULL,
    receipt_id UUID NOT NULL,
    ordinal BIGINT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    field_path TEXT,
    model_version BIGINT NOT NULL,
    raw TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX dead_letters_by_channel ON dead_letters (channel_id, id);

ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON receipts FOR ALL TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY engine_reads ON receipts FOR SELECT TO headgate_engine USING (true);
CREATE POLICY engine_writes ON receipts FOR ALL TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letters FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON dead_letters FOR ALL TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY engine_reads ON dead_letters FOR SELECT TO headgate_engine USING (true);
CREATE POLICY engine_writes ON dead_letters FOR ALL TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
