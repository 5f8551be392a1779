-- What a channel was charged as until one of its changes: hours are billed by what held in each part of them.
CREATE TABLE former_terms (
  tenant_id BLOB NOT NULL,
  channel_id BLOB NOT NULL,
  until TEXT NOT NULL,
  size TEXT NOT NULL,
  timing TEXT NOT NULL,
  PRIMARY KEY (tenant_id, channel_id, until),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id) ON DELETE CASCADE
);
