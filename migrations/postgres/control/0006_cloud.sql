-- The public name of a key that a cloud made; NULL for secrets of the platform's own.
ALTER TABLE credentials ADD COLUMN key_id TEXT;

-- Set while an order lets a client in at a cloud: a worker that dies in between may leave a key there
-- that no row knows. The sweep ends such keys and clears it.
ALTER TABLE resources ADD COLUMN admitting_since TIMESTAMPTZ;
CREATE INDEX resources_admitting ON resources (admitting_since) WHERE admitting_since IS NOT NULL;
