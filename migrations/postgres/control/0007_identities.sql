-- What the clients, groups and people of other issuers are here. The platform's own rows stand under the
-- nil tenant.
CREATE TABLE identities (
    tenant_id  UUID        NOT NULL,
    id         UUID        NOT NULL,
    -- The iss of its tokens, letter by letter.
    issuer     TEXT        NOT NULL,
    -- client, group, subject
    kind       TEXT        NOT NULL,
    -- The client_id, group or sub of its tokens.
    name       TEXT        NOT NULL,
    -- Space-separated; empty where a client of ours has them.
    scopes     TEXT        NOT NULL,
    -- The client of ours that logs in by this app client.
    client_id  UUID,
    created_at TIMESTAMPTZ NOT NULL,
    -- Set when another app client took over.
    expires_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id)
);
-- Across tenants: a token leads to one of them, or to none.
CREATE UNIQUE INDEX identities_by_name ON identities (issuer, kind, name);
CREATE INDEX identities_by_client ON identities (tenant_id, client_id);

ALTER TABLE identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE identities FORCE ROW LEVEL SECURITY;
CREATE POLICY identities_app ON identities TO headgate_app
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY identities_engine_read ON identities FOR SELECT TO headgate_engine USING (true);
CREATE POLICY identities_engine_insert ON identities FOR INSERT TO headgate_engine
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY identities_engine_update ON identities FOR UPDATE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY identities_engine_delete ON identities FOR DELETE TO headgate_engine
    USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
