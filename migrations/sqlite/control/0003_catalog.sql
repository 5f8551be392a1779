-- What there is (elements, schemas, hierarchy, facets, grants) and where it goes (channels).

CREATE TABLE nodes (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  parent_id BLOB,
  tree TEXT NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  depth INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES nodes (tenant_id, id)
);
CREATE UNIQUE INDEX nodes_path ON nodes (tenant_id, tree, lower(path));
CREATE INDEX nodes_id ON nodes (id);

CREATE TABLE elements (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  metadata TEXT NOT NULL,
  price_key TEXT,
  search_text TEXT NOT NULL,
  search_fields TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX elements_name ON elements (tenant_id, lower(name)) WHERE state <> 'RETIRED';
CREATE INDEX elements_id ON elements (id);

CREATE TABLE schema_versions (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, element_id, version),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX schema_versions_element ON schema_versions (element_id, version);

-- One row per ancestor of the node an element sits at, so that "at or below" is one lookup.
CREATE TABLE element_nodes (
  tenant_id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  node_tenant_id BLOB NOT NULL,
  node_id BLOB NOT NULL,
  direct BOOLEAN NOT NULL,
  PRIMARY KEY (tenant_id, element_id, node_id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (node_tenant_id, node_id) REFERENCES nodes (tenant_id, id)
);
CREATE INDEX element_nodes_node ON element_nodes (node_id, element_id);

CREATE TABLE element_facets (
  tenant_id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  facet TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (tenant_id, element_id, facet),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX element_facets_value ON element_facets (facet, value, element_id);
CREATE INDEX element_facets_element ON element_facets (element_id);

CREATE TABLE element_statistics (
  tenant_id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  document TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, element_id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);

-- grantee_id absent: everybody.
CREATE TABLE grants (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  grantee_id BLOB,
  policy TEXT NOT NULL,
  row_scoped BOOLEAN NOT NULL,
  column_scoped BOOLEAN NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX grants_named ON grants (tenant_id, element_id, grantee_id) WHERE grantee_id IS NOT NULL;
CREATE UNIQUE INDEX grants_public ON grants (tenant_id, element_id) WHERE grantee_id IS NULL;
CREATE INDEX grants_element ON grants (element_id, grantee_id);

-- Why selections are resolved again: an element's visibility or place changed, or a channel got a
-- selection that follows the catalog (one of the two is set).
CREATE TABLE selection_changes (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  element_id BLOB,
  channel_id BLOB,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

-- follows: the selection may reach other elements than it does now, so it is looked at whenever
-- an element is published or granted.
CREATE TABLE channels (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  direction TEXT NOT NULL,
  profile TEXT NOT NULL,
  size TEXT NOT NULL,
  profile_revision INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  state_reason TEXT,
  spec TEXT NOT NULL,
  limits TEXT NOT NULL,
  generation INTEGER NOT NULL,
  observed_generation INTEGER NOT NULL,
  binding TEXT,
  follows BOOLEAN NOT NULL,
  version INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  activated_at TEXT,
  deleted_at TEXT,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX channels_id ON channels (id);
CREATE INDEX channels_open ON channels (direction, id) WHERE state NOT IN ('DELETED', 'FAILED');

CREATE TABLE feeds (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  channel_id BLOB NOT NULL,
  name TEXT NOT NULL,
  element_id BLOB NOT NULL,
  input_model TEXT NOT NULL,
  model_version INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, channel_id, name),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, element_id) REFERENCES elements (tenant_id, id)
);
CREATE INDEX feeds_element ON feeds (tenant_id, element_id);

-- element_id may be another tenant's, so it refers to nothing here; grants decide.
CREATE TABLE subscriptions (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  channel_id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  row_filter TEXT,
  columns TEXT NOT NULL,
  policy TEXT NOT NULL,
  model TEXT NOT NULL,
  model_version INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, channel_id, element_id),
  UNIQUE (tenant_id, channel_id, name),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX subscriptions_element ON subscriptions (element_id);

CREATE TABLE lanes (
  tenant_id BLOB NOT NULL,
  channel_id BLOB NOT NULL,
  lane TEXT NOT NULL,
  wanted BOOLEAN NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, lane),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE conditions (
  tenant_id BLOB NOT NULL,
  channel_id BLOB NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  last_transition_time TEXT NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, type),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);
