-- Answers of requests that came with an Idempotency-Key, written in the transaction of their effect.
CREATE TABLE idempotency_keys (
    tenant_id       UUID        NOT NULL,
    client_id       UUID        NOT NULL,
    idempotency_key TEXT        NOT NULL,
    -- SHA-256 of method, path and body.
    fingerprint     BYTEA       NOT NULL,
    status          BIGINT      NOT NULL,
    location        TEXT,
    etag            TEXT,
    body            JSONB       NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, client_id, idempotency_key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (tenant_id, client_id, created_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY idempotency_keys_app ON idempotency_keys TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY idempotency_keys_engine_read ON idempotency_keys FOR SELECT TO headgate_engine USING (true);
CREATE POLICY idempotency_keys_engine_write ON idempotency_keys FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY idempotency_keys_engine_delete ON idempotency_keys FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
