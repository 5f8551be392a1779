-- What there is (elements, schemas, hierarchy, facets, grants) and where it goes (channels).

CREATE TABLE nodes (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  parent_id UUID,
  tree TEXT NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  depth BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES nodes (tenant_id, id)
);
CREATE UNIQUE INDEX nodes_path ON nodes (tenant_id, tree, lower(path));
CREATE INDEX nodes_id ON nodes (id);

CREATE TABLE elements (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  metadata JSONB NOT NULL,
  price_key TEXT,
  search_text TEXT NOT NULL,
  search_fields TEXT NOT NULL,
  schema_version BIGINT NOT NULL,
  version BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX elements_name ON elements (tenant_id, lower(name)) WHERE state <> 'RETIRED';
CREATE INDEX elements_id ON elements (id);

CREATE TABLE schema_versions (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  element_id UUID NOT NULL,
  version BIGINT NOT NULL,
  document JSONB NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, element_id, version),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX schema_versions_element ON schema_versions (element_id, version);

-- One row per ancestor of the node an element sits at, so that "at or below" is one lookup.
CREATE TABLE element_nodes (
  tenant_id UUID NOT NULL,
  element_id UUID NOT NULL,
  node_tenant_id UUID NOT NULL,
  node_id UUID NOT NULL,
  direct BOOLEAN NOT NULL,
  PRIMARY KEY (tenant_id, element_id, node_id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (node_tenant_id, node_id) REFERENCES nodes (tenant_id, id)
);
CREATE INDEX element_nodes_node ON element_nodes (node_id, element_id);

CREATE TABLE element_facets (
  tenant_id UUID NOT NULL,
  element_id UUID NOT NULL,
  facet TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (tenant_id, element_id, facet),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX element_facets_value ON element_facets (facet, value, element_id);
CREATE INDEX element_facets_element ON element_facets (element_id);

CREATE TABLE element_statistics (
  tenant_id UUID NOT NULL,
  element_id UUID NOT NULL,
  document JSONB NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, element_id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);

-- grantee_id absent: everybody.
CREATE TABLE grants (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  element_id UUID NOT NULL,
  grantee_id UUID,
  policy JSONB NOT NULL,
  row_scoped BOOLEAN NOT NULL,
  column_scoped BOOLEAN NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX grants_named ON grants (tenant_id, element_id, grantee_id) WHERE grantee_id IS NOT NULL;
CREATE UNIQUE INDEX grants_public ON grants (tenant_id, element_id) WHERE grantee_id IS NULL;
CREATE INDEX grants_element ON grants (element_id, grantee_id);

-- Why selections are resolved again: an element's visibility or place changed, or a channel got a
-- selection that follows the catalog (one of the two is set).
CREATE TABLE selection_changes (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  element_id UUID,
  channel_id UUID,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

-- follows: the selection may reach other elements than it does now, so it is looked at whenever
-- an element is published or granted.
CREATE TABLE channels (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  direction TEXT NOT NULL,
  profile TEXT NOT NULL,
  size TEXT NOT NULL,
  profile_revision BIGINT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  state_reason TEXT,
  spec JSONB NOT NULL,
  limits JSONB NOT NULL,
  generation BIGINT NOT NULL,
  observed_generation BIGINT NOT NULL,
  binding JSONB,
  follows BOOLEAN NOT NULL,
  version BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL,
  activated_at TIMESTAMPTZ,
  deleted_at TIMESTAMPTZ,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX channels_id ON channels (id);
CREATE INDEX channels_open ON channels (direction, id) WHERE state NOT IN ('DELETED', 'FAILED');

CREATE TABLE feeds (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  channel_id UUID NOT NULL,
  name TEXT NOT NULL,
  element_id UUID NOT NULL,
  input_model JSONB NOT NULL,
  model_version BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, channel_id, name),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id)
);
CREATE INDEX feeds_element ON feeds (tenant_id, element_id);

-- element_id may be another tenant's, so it refers to nothing here; grants decide.
CREATE TABLE subscriptions (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  channel_id UUID NOT NULL,
  element_id UUID NOT NULL,
  position BIGINT NOT NULL,
  name TEXT NOT NULL,
  row_filter TEXT,
  columns JSONB NOT NULL,
  policy JSONB NOT NULL,
  model JSONB NOT NULL,
  model_version BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, channel_id, element_id),
  UNIQUE (tenant_id, channel_id, name),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX subscriptions_element ON subscriptions (element_id);

CREATE TABLE lanes (
  tenant_id UUID NOT NULL,
  channel_id UUID NOT NULL,
  lane TEXT NOT NULL,
  wanted BOOLEAN NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, lane),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE conditions (
  tenant_id UUID NOT NULL,
  channel_id UUID NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  last_transition_time TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, type),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);

-- Row-level security. The application sees and changes its tenant's rows; the platform's own work
-- sees all and changes those of the tenant it acts for.
DO $$
DECLARE
  own CONSTANT text := 'tenant_id = nullif(current_setting(''headgate.tenant_id'', true), '''')::uuid';
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['nodes', 'elements', 'schema_versions', 'element_nodes', 'element_facets',
    'element_statistics', 'grants', 'selection_changes', 'channels', 'feeds', 'subscriptions', 'lanes', 'conditions']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY app_own ON %I FOR ALL TO headgate_app USING (%s) WITH CHECK (%s)', name, own, own);
    EXECUTE format('CREATE POLICY engine_read ON %I FOR SELECT TO headgate_engine USING (true)', name);
    EXECUTE format('CREATE POLICY engine_insert ON %I FOR INSERT TO headgate_engine WITH CHECK (%s)', name, own);
    EXECUTE format('CREATE POLICY engine_update ON %I FOR UPDATE TO headgate_engine USING (%s) WITH CHECK (%s)', name, own, own);
    EXECUTE format('CREATE POLICY engine_delete ON %I FOR DELETE TO headgate_engine USING (%s)', name, own);
  END LOOP;
END $$;

-- What a grantee sees beside its own. The policy of grants refers to no other table, so the others
-- may refer to it without end.
CREATE POLICY app_grantee ON grants FOR SELECT TO headgate_app
  USING (grantee_id IS NULL OR grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid);
CREATE POLICY app_granted ON elements FOR SELECT TO headgate_app
  USING (EXISTS (SELECT 1 FROM grants g WHERE g.element_id = elements.id
    AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
CREATE POLICY app_granted ON schema_versions FOR SELECT TO headgate_app
  USING (EXISTS (SELECT 1 FROM grants g WHERE g.element_id = schema_versions.element_id
    AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
CREATE POLICY app_granted ON element_facets FOR SELECT TO headgate_app
  USING (EXISTS (SELECT 1 FROM grants g WHERE g.element_id = element_facets.element_id
    AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
CREATE POLICY app_granted ON element_nodes FOR SELECT TO headgate_app
  USING (EXISTS (SELECT 1 FROM grants g WHERE g.element_id = element_nodes.element_id
    AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
-- Statistics tell a volume: a grantee limited to some rows may not know how many there are.
CREATE POLICY app_granted ON element_statistics FOR SELECT TO headgate_app
  USING (EXISTS (SELECT 1 FROM grants g WHERE g.element_id = element_statistics.element_id AND NOT g.row_scoped
    AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
-- The platform's own trees are everybody's; a tenant's node is seen by whoever sees an element in it.
CREATE POLICY app_granted ON nodes FOR SELECT TO headgate_app
  USING (tenant_id = '00000000-0000-0000-0000-000000000000'::uuid
    OR EXISTS (SELECT 1 FROM element_nodes n JOIN grants g ON g.element_id = n.element_id WHERE n.node_id = nodes.id
      AND (g.grantee_id IS NULL OR g.grantee_id = nullif(current_setting('headgate.tenant_id', true), '')::uuid)));
