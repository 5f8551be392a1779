-- Who may do what: tenants, clients, keys, credentials, and the record of what they did.
-- The platform's own rows (administrators, platform audit) stand under the nil tenant.

CREATE TABLE tenants (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    state      TEXT NOT NULL,
    quotas     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE clients (
    tenant_id                   BLOB NOT NULL,
    id                          BLOB NOT NULL,
    name                        TEXT NOT NULL,
    -- Space-separated, as OAuth writes them.
    scopes                      TEXT NOT NULL,
    secret_hash                 BLOB NOT NULL,
    -- The secret before the last rotation, good until its time is over.
    previous_secret_hash        BLOB,
    previous_secret_valid_until TEXT,
    created_at                  TEXT NOT NULL,
    revoked_at                  TEXT,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX clients_by_id ON clients (id);

CREATE TABLE signing_keys (
    kid             TEXT NOT NULL PRIMARY KEY,
    public_key      BLOB NOT NULL,
    sealed          BLOB NOT NULL,
    created_at      TEXT NOT NULL,
    -- Set when a newer key took over: tokens it signed are good until then.
    published_until TEXT
);

CREATE TABLE credentials (
    tenant_id   BLOB NOT NULL,
    id          BLOB NOT NULL,
    channel_id  BLOB NOT NULL,
    kind        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    -- SHA-256 of the presented text.
    secret_hash BLOB NOT NULL,
    -- Only of secrets that the platform itself has to use.
    sealed      BLOB,
    created_at  TEXT NOT NULL,
    -- Set by a rotation: the end of the grace period.
    expires_at  TEXT,
    revoked_at  TEXT,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, channel_id, kind, version)
);
CREATE UNIQUE INDEX credentials_by_id ON credentials (id);
CREATE INDEX credentials_by_channel ON credentials (channel_id);

CREATE TABLE claims (
    tenant_id     BLOB NOT NULL,
    id            BLOB NOT NULL,
    credential_id BLOB NOT NULL,
    -- NULL once revealed, revoked or rotated away.
    sealed        BLOB,
    created_at    TEXT NOT NULL,
    expires_at    TEXT NOT NULL,
    used_at       TEXT,
    used_by       TEXT,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, id)
);
CREATE INDEX claims_by_credential ON claims (tenant_id, credential_id);

CREATE TABLE audit (
    tenant_id     BLOB NOT NULL,
    -- 1, 2, 3 … without a gap: a missing row is a broken chain.
    sequence      INTEGER NOT NULL,
    id            BLOB NOT NULL,
    at            TEXT NOT NULL,
    actor         TEXT NOT NULL,
    action        TEXT NOT NULL,
    resource      TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    request_id    TEXT,
    -- JSON as it was hashed, to the byte.
    detail        TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash          BLOB NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

CREATE TABLE audit_heads (
    tenant_id BLOB NOT NULL PRIMARY KEY,
    sequence  INTEGER NOT NULL,
    hash      BLOB NOT NULL
);

CREATE TABLE login_failures (
    -- What is counted: a client at an address, an address, a client.
    subject    TEXT NOT NULL PRIMARY KEY,
    failures   INTEGER NOT NULL,
    window_end TEXT NOT NULL
);

-- Nobody can change what was recorded; on PostgreSQL the policies say so.
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
