-- What a channel was charged as until one of its changes: hours are billed by what held in each part of them.
CREATE TABLE former_terms (
  tenant_id UUID NOT NULL,
  channel_id UUID NOT NULL,
  until TIMESTAMPTZ NOT NULL,
  size TEXT NOT NULL,
  timing TEXT NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, until),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE former_terms ENABLE ROW LEVEL SECURITY;
ALTER TABLE former_terms FORCE ROW LEVEL SECURITY;
CREATE POLICY app_own ON former_terms FOR ALL TO headgate_app
  USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
  WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY engine_read ON former_terms FOR SELECT TO headgate_engine USING (true);
CREATE POLICY engine_insert ON former_terms FOR INSERT TO headgate_engine
  WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY engine_update ON former_terms FOR UPDATE TO headgate_engine
  USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)
  WITH CHECK (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY engine_delete ON former_terms FOR DELETE TO headgate_engine
  USING (tenant_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
