-- Answers of requests that came with an Idempotency-Key, written in the transaction of their effect.
CREATE TABLE idempotency_keys (
    tenant_id       BLOB    NOT NULL,
    client_id       BLOB    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    -- SHA-256 of method, path and body.
    fingerprint     BLOB    NOT NULL,
    status          INTEGER NOT NULL,
    location        TEXT,
    etag            TEXT,
    body            TEXT    NOT NULL,
    created_at      TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, client_id, idempotency_key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (tenant_id, client_id, created_at);
