-- What happened, per tenant in commit order, and where it is sent.

CREATE TABLE outbox (
    tenant_id  UUID NOT NULL,
    -- 1, 2, 3 … in commit order, without a gap.
    sequence   BIGINT NOT NULL,
    id         UUID NOT NULL,
    type       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, id)
);
CREATE INDEX outbox_by_age ON outbox (tenant_id, created_at);

CREATE TABLE outbox_heads (
    tenant_id   UUID NOT NULL PRIMARY KEY,
    -- The last sequence given out.
    sequence    BIGINT NOT NULL,
    -- Events up to here were removed because of their age.
    removed_to  BIGINT NOT NULL
);

CREATE TABLE endpoints (
    tenant_id         UUID NOT NULL,
    id                UUID NOT NULL,
    url               TEXT NOT NULL,
    description       TEXT NOT NULL,
    -- JSON array of type names; empty: all.
    types             JSONB NOT NULL,
    state             TEXT NOT NULL,
    state_reason      TEXT,
    sealed            BYTEA NOT NULL,
    -- The secret before the last rotation; both sign until its time is over.
    previous_sealed   BYTEA,
    previous_until    TIMESTAMPTZ,
    -- Events up to here have deliveries.
    dispatched_to     BIGINT NOT NULL,
    -- The first failure since the last success.
    failing_since     TIMESTAMPTZ,
    version           BIGINT NOT NULL,
    created_at        TIMESTAMPTZ NOT NULL,
    updated_at        TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE event_deliveries (
    tenant_id   UUID NOT NULL,
    endpoint_id UUID NOT NULL,
    event_id    UUID NOT NULL,
    sequence    BIGINT NOT NULL,
    state       TEXT NOT NULL,
    -- Of all rounds.
    attempts    BIGINT NOT NULL,
    -- Of this round: a resend starts the schedule anew.
    tries       BIGINT NOT NULL,
    -- When to try (next); a taken delivery is moved on by its lease.
    due_at      TIMESTAMPTZ NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX event_deliveries_due ON event_deliveries (state, due_at);

CREATE TABLE event_attempts (
    tenant_id    UUID NOT NULL,
    endpoint_id  UUID NOT NULL,
    event_id     UUID NOT NULL,
    attempt      BIGINT NOT NULL,
    -- UUIDv7: orders a list of attempts.
    id           UUID NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    -- HTTP status, NULL when there was no answer.
    status       BIGINT,
    error        TEXT,
    -- The first 4 KiB of the answer.
    response     TEXT,
    milliseconds BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_id, attempt),
    FOREIGN KEY (tenant_id, endpoint_id, event_id)
        REFERENCES event_deliveries (tenant_id, endpoint_id, event_id) ON DELETE CASCADE
);
CREATE INDEX event_attempts_by_time ON event_attempts (tenant_id, endpoint_id, id);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY outbox_app ON outbox TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_engine_read ON outbox FOR SELECT TO headgate_engine USING (true);
CREATE POLICY outbox_engine_insert ON outbox FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_engine_update ON outbox FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_engine_delete ON outbox FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE outbox_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY outbox_heads_app ON outbox_heads TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_heads_engine_read ON outbox_heads FOR SELECT TO headgate_engine USING (true);
CREATE POLICY outbox_heads_engine_insert ON outbox_heads FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_heads_engine_update ON outbox_heads FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY outbox_heads_engine_delete ON outbox_heads FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE endpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY endpoints_app ON endpoints TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY endpoints_engine_read ON endpoints FOR SELECT TO headgate_engine USING (true);
CREATE POLICY endpoints_engine_insert ON endpoints FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY endpoints_engine_update ON endpoints FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY endpoints_engine_delete ON endpoints FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE event_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY event_deliveries_app ON event_deliveries TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_deliveries_engine_read ON event_deliveries FOR SELECT TO headgate_engine USING (true);
CREATE POLICY event_deliveries_engine_insert ON event_deliveries FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_deliveries_engine_update ON event_deliveries FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_deliveries_engine_delete ON event_deliveries FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE event_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY event_attempts_app ON event_attempts TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_attempts_engine_read ON event_attempts FOR SELECT TO headgate_engine USING (true);
CREATE POLICY event_attempts_engine_insert ON event_attempts FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_attempts_engine_update ON event_attempts FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY event_attempts_engine_delete ON event_attempts FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
