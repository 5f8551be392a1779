-- What was used, and what it costs.

-- Never partitioned by time: (tenant_id, source, id) stays unique for ever, or a repeat would be
-- billed again. after_offset and to_offset say which records of the element's log a row stands for.
CREATE TABLE usage_records (
  tenant_id BLOB NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  meter TEXT NOT NULL,
  channel_id BLOB,
  element_id BLOB,
  lane TEXT,
  after_offset INTEGER,
  to_offset INTEGER,
  quantity INTEGER NOT NULL,
  event_time TEXT NOT NULL,
  stored_at TEXT NOT NULL,
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
  tenant_id BLOB NOT NULL,
  day TEXT NOT NULL,
  meter TEXT NOT NULL,
  channel_id BLOB NOT NULL,
  element_id BLOB NOT NULL,
  dims TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  records INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, day, meter, channel_id, element_id, dims)
);

-- The same id with another content: counted and kept, never booked.
CREATE TABLE usage_conflicts (
  tenant_id BLOB NOT NULL,
  id BLOB NOT NULL,
  source TEXT NOT NULL,
  usage_id TEXT NOT NULL,
  booked TEXT NOT NULL,
  offered TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

-- Revisions of the standard price list; the platform's, read by every tenant.
CREATE TABLE rate_cards (
  id BLOB NOT NULL,
  revision INTEGER NOT NULL,
  valid_from TEXT NOT NULL,
  document TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX rate_cards_revision ON rate_cards (revision);
