-- Orders, their steps, the resources they made, and who is working on them.

CREATE TABLE orders (
    tenant_id        UUID NOT NULL,
    id               UUID NOT NULL,
    channel_id       UUID NOT NULL,
    direction        TEXT NOT NULL,
    kind             TEXT NOT NULL,
    -- Only one order that changes the spec of a channel is open at a time.
    exclusive        BOOLEAN NOT NULL,
    state            TEXT NOT NULL,
    ending           TEXT,
    phase            TEXT NOT NULL,
    position         BIGINT NOT NULL,
    step             TEXT,
    request          JSONB NOT NULL,
    -- What the channel was before a change order.
    previous         JSONB,
    result           JSONB NOT NULL,
    error            JSONB,
    price            JSONB,
    profile_revision BIGINT NOT NULL,
    requested_by     TEXT NOT NULL,
    request_id       TEXT,
    superseded_by    UUID,
    attempts         BIGINT NOT NULL,
    run_at           TIMESTAMPTZ NOT NULL,
    step_started_at  TIMESTAMPTZ,
    created_at       TIMESTAMPTZ NOT NULL,
    started_at       TIMESTAMPTZ,
    finished_at      TIMESTAMPTZ,
    updated_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX orders_exclusive ON orders (tenant_id, channel_id)
    WHERE exclusive AND state IN ('PENDING', 'RUNNING');
CREATE INDEX orders_due ON orders (run_at) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX orders_by_channel ON orders (tenant_id, channel_id, id);

CREATE TABLE order_steps (
    tenant_id   UUID NOT NULL,
    order_id    UUID NOT NULL,
    phase       TEXT NOT NULL,
    position    BIGINT NOT NULL,
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL,
    message     TEXT,
    progress    JSONB,
    started_at  TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, order_id, phase, position),
    FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
);

-- Written before a driver acts, so that whatever it leaves is known.
CREATE TABLE resources (
    tenant_id   UUID NOT NULL,
    channel_id  UUID NOT NULL,
    driver      TEXT NOT NULL,
    state       TEXT NOT NULL,
    url         TEXT,
    order_id    UUID NOT NULL,
    attempts    BIGINT NOT NULL,
    error       TEXT,
    run_at      TIMESTAMPTZ NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);

CREATE INDEX resources_left_over ON resources (run_at) WHERE state = 'LEFT_OVER';

-- One worker per channel at a time. The epoch grows with every lease, so that a worker that lost
-- its lease cannot save.
CREATE TABLE order_leases (
    tenant_id  UUID NOT NULL,
    channel_id UUID NOT NULL,
    owner      TEXT NOT NULL,
    epoch      BIGINT NOT NULL,
    until      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);

DO $$
DECLARE
    name TEXT;
    mine CONSTANT TEXT := 'tenant_id = nullif(current_setting(''headgate.tenant_id'', true), '''')::uuid';
BEGIN
    FOREACH name IN ARRAY ARRAY['orders', 'order_steps', 'resources', 'order_leases'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY app ON %I FOR ALL TO headgate_app USING (%s) WITH CHECK (%s)', name, mine, mine);
        EXECUTE format('CREATE POLICY engine_select ON %I FOR SELECT TO headgate_engine USING (true)', name);
        EXECUTE format('CREATE POLICY engine_insert ON %I FOR INSERT TO headgate_engine WITH CHECK (%s)', name, mine);
        EXECUTE format('CREATE POLICY engine_update ON %I FOR UPDATE TO headgate_engine USING (%s) WITH CHECK (%s)',
                       name, mine, mine);
        EXECUTE format('CREATE POLICY engine_delete ON %I FOR DELETE TO headgate_engine USING (%s)', name, mine);
    END LOOP;
END $$;
