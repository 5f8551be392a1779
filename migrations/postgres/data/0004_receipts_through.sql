-- The last record of the payload that is counted: a commit that decides it again, because the log was
-- put back to an older copy, counts nothing twice.
ALTER TABLE receipts ADD COLUMN through BIGINT NOT NULL DEFAULT 0;
