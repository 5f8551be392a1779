-- What was used, and what it costs.

-- Never partitioned by time: (tenant_id, source, id) stays unique for ever, or a repeat would be
-- billed again. after_offset and to_offset say which records of the element's log a row stands for.
CREATE TABLE usage_records (
  tenant_id UUID NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  meter TEXT NOT NULL,
  channel_id UUID,
  element_id UUID,
  lane TEXT,
  after_offset BIGINT,
  to_offset BIGINT,
  quantity BIGINT NOT NULL,
  event_time TIMESTAMPTZ NOT NULL,
  stored_at TIMESTAMPTZ NOT NULL,
  dims TEXT NOT NULL,
  kind TEXT NOT NULL,
  corrects_id TEXT,
  PRIMARY KEY (tenant_id, source, id)
);
CREATE INDEX usage_records_time ON usage_records (tenant_id, event_time, source, id);
CREATE INDEX usage_records_range ON usage_records (tenant_id, channel_id, element_id, lane, meter, after_offset);

-- Sums per day (UTC), moved in the transaction of the record. dims is the canonical text of the
-- record's dimensions; absent channels and elements are the nil UUID, so that the key has no NULL.
CREATE TABLE usage_rollups (
  tenant_id UUID NOT NULL,
  day TIMESTAMPTZ NOT NULL,
  meter TEXT NOT NULL,
  channel_id UUID NOT NULL,
  element_id UUID NOT NULL,
  dims TEXT NOT NULL,
  quantity BIGINT NOT NULL,
  records BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, day, meter, channel_id, element_id, dims)
);

-- The same id with another content: counted and kept, never booked.
CREATE TABLE usage_conflicts (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  source TEXT NOT NULL,
  usage_id TEXT NOT NULL,
  booked JSONB NOT NULL,
  offered JSONB NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

-- Revisions of the standard price list; the platform's, read by every tenant.
CREATE TABLE rate_cards (
  id UUID NOT NULL,
  revision BIGINT NOT NULL,
  valid_from TIMESTAMPTZ NOT NULL,
  document JSONB NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX rate_cards_revision ON rate_cards (revision);

-- Row-level security. The application sees and adds its tenant's rows; the platform's own work
-- sees all and adds to those of the tenant it acts for.
DO $$
DECLARE
  own CONSTANT text := 'tenant_id = nullif(current_setting(''headgate.tenant_id'', true), '''')::uuid';
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['usage_records', 'usage_rollups', 'usage_conflicts']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY app_read ON %I FOR SELECT TO headgate_app USING (%s)', name, own);
    EXECUTE format('CREATE POLICY app_insert ON %I FOR INSERT TO headgate_app WITH CHECK (%s)', name, own);
    EXECUTE format('CREATE POLICY engine_read ON %I FOR SELECT TO headgate_engine USING (true)', name);
    EXECUTE format('CREATE POLICY engine_insert ON %I FOR INSERT TO headgate_engine WITH CHECK (%s)', name, own);
  END LOOP;
END $$;
-- Sums move; facts and conflicts are written once and then stand: there is no policy to change or
-- delete them.
DO $$
DECLARE
  own CONSTANT text := 'tenant_id = nullif(current_setting(''headgate.tenant_id'', true), '''')::uuid';
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['headgate_app', 'headgate_engine']
  LOOP
    EXECUTE format('CREATE POLICY %I ON usage_rollups FOR UPDATE TO %I USING (%s) WITH CHECK (%s)', role || '_update', role, own, own);
  END LOOP;
END $$;

-- A price list is nobody's own: every tenant reads it, the platform alone writes it.
ALTER TABLE rate_cards ENABLE ROW LEVEL SECURITY;
ALTER TABLE rate_cards FORCE ROW LEVEL SECURITY;
CREATE POLICY app_read ON rate_cards FOR SELECT TO headgate_app USING (true);
CREATE POLICY engine_all ON rate_cards FOR ALL TO headgate_engine USING (true) WITH CHECK (true);
