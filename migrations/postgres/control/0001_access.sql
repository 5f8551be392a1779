-- Who may do what: tenants, clients, keys, credentials, and the record of what they did.
-- The platform's own rows (administrators, platform audit) stand under the nil tenant.

CREATE TABLE tenants (
    id         UUID NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    state      TEXT NOT NULL,
    quotas     JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE clients (
    tenant_id                   UUID NOT NULL,
    id                          UUID NOT NULL,
    name                        TEXT NOT NULL,
    -- Space-separated, as OAuth writes them.
    scopes                      TEXT NOT NULL,
    secret_hash                 BYTEA NOT NULL,
    -- The secret before the last rotation, good until its time is over.
    previous_secret_hash        BYTEA,
    previous_secret_valid_until TIMESTAMPTZ,
    created_at                  TIMESTAMPTZ NOT NULL,
    revoked_at                  TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX clients_by_id ON clients (id);

CREATE TABLE signing_keys (
    kid             TEXT NOT NULL PRIMARY KEY,
    public_key      BYTEA NOT NULL,
    sealed          BYTEA NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    -- Set when a newer key took over: tokens it signed are good until then.
    published_until TIMESTAMPTZ
);

CREATE TABLE credentials (
    tenant_id   UUID NOT NULL,
    id          UUID NOT NULL,
    channel_id  UUID NOT NULL,
    kind        TEXT NOT NULL,
    version     BIGINT NOT NULL,
    -- SHA-256 of the presented text.
    secret_hash BYTEA NOT NULL,
    -- Only of secrets that the platform itself has to use.
    sealed      BYTEA,
    created_at  TIMESTAMPTZ NOT NULL,
    -- Set by a rotation: the end of the grace period.
    expires_at  TIMESTAMPTZ,
    revoked_at  TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, channel_id, kind, version)
);
CREATE UNIQUE INDEX credentials_by_id ON credentials (id);
CREATE INDEX credentials_by_channel ON credentials (channel_id);

CREATE TABLE claims (
    tenant_id     UUID NOT NULL,
    id            UUID NOT NULL,
    credential_id UUID NOT NULL,
    -- NULL once revealed, revoked or rotated away.
    sealed        BYTEA,
    created_at    TIMESTAMPTZ NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL,
    used_at       TIMESTAMPTZ,
    used_by       TEXT,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, id)
);
CREATE INDEX claims_by_credential ON claims (tenant_id, credential_id);

CREATE TABLE audit (
    tenant_id     UUID NOT NULL,
    -- 1, 2, 3 … without a gap: a missing row is a broken chain.
    sequence      BIGINT NOT NULL,
    id            UUID NOT NULL,
    at            TIMESTAMPTZ NOT NULL,
    actor         TEXT NOT NULL,
    action        TEXT NOT NULL,
    resource      TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    request_id    TEXT,
    -- JSON as it was hashed, to the byte.
    detail        TEXT NOT NULL,
    previous_hash BYTEA NOT NULL,
    hash          BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

CREATE TABLE audit_heads (
    tenant_id UUID NOT NULL PRIMARY KEY,
    sequence  BIGINT NOT NULL,
    hash      BYTEA NOT NULL
);

CREATE TABLE login_failures (
    -- What is counted: a client at an address, an address, a client.
    subject    TEXT NOT NULL PRIMARY KEY,
    failures   BIGINT NOT NULL,
    window_end TIMESTAMPTZ NOT NULL
);

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_app ON tenants TO headgate_app
    USING (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY tenants_engine_read ON tenants FOR SELECT TO headgate_engine USING (true);
CREATE POLICY tenants_engine_insert ON tenants FOR INSERT TO headgate_engine
    WITH CHECK (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY tenants_engine_update ON tenants FOR UPDATE TO headgate_engine
    USING (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY tenants_engine_delete ON tenants FOR DELETE TO headgate_engine
    USING (id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE clients FORCE ROW LEVEL SECURITY;
CREATE POLICY clients_app ON clients TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY clients_engine_read ON clients FOR SELECT TO headgate_engine USING (true);
CREATE POLICY clients_engine_insert ON clients FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY clients_engine_update ON clients FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY clients_engine_delete ON clients FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE signing_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY signing_keys_engine ON signing_keys TO headgate_engine USING (true) WITH CHECK (true);

ALTER TABLE credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY credentials_app ON credentials TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY credentials_engine_read ON credentials FOR SELECT TO headgate_engine USING (true);
CREATE POLICY credentials_engine_insert ON credentials FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY credentials_engine_update ON credentials FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY credentials_engine_delete ON credentials FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE claims ENABLE ROW LEVEL SECURITY;
ALTER TABLE claims FORCE ROW LEVEL SECURITY;
CREATE POLICY claims_app ON claims TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY claims_engine_read ON claims FOR SELECT TO headgate_engine USING (true);
CREATE POLICY claims_engine_insert ON claims FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY claims_engine_update ON claims FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY claims_engine_delete ON claims FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
-- No policy for UPDATE and DELETE: neither role can change what was recorded.
CREATE POLICY audit_app_read ON audit FOR SELECT TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY audit_engine_read ON audit FOR SELECT TO headgate_engine USING (true);
CREATE POLICY audit_append ON audit FOR INSERT TO headgate_app, headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_heads_app ON audit_heads TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY audit_heads_engine_read ON audit_heads FOR SELECT TO headgate_engine USING (true);
CREATE POLICY audit_heads_engine_insert ON audit_heads FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY audit_heads_engine_update ON audit_heads FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY audit_heads_engine_delete ON audit_heads FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);

ALTER TABLE login_failures ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_failures FORCE ROW LEVEL SECURITY;
CREATE POLICY login_failures_engine ON login_failures TO headgate_engine USING (true) WITH CHECK (true);
