-- What the clients, groups and people of other issuers are here. The platform's own rows stand under the
-- nil tenant.
CREATE TABLE identities (
    tenant_id  BLOB NOT NULL,
    id         BLOB NOT NULL,
    -- The iss of its tokens, letter by letter.
    issuer     TEXT NOT NULL,
    -- client, group, subject
    kind       TEXT NOT NULL,
    -- The client_id, group or sub of its tokens.
    name       TEXT NOT NULL,
    -- Space-separated; empty where a client of ours has them.
    scopes     TEXT NOT NULL,
    -- The client of ours that logs in by this app client.
    client_id  BLOB,
    created_at TEXT NOT NULL,
    -- Set when another app client took over.
    expires_at TEXT,
    PRIMARY KEY (tenant_id, id)
);
-- Across tenants: a token leads to one of them, or to none.
CREATE UNIQUE INDEX identities_by_name ON identities (issuer, kind, name);
CREATE INDEX identities_by_client ON identities (tenant_id, client_id);
