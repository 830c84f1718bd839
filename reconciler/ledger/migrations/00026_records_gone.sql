-- +goose Up
-- That a record was published of a pilot or a prerequisite which has gone since: whatever takes its name must have it. Of what was proven before, nobody
-- remembers whether it was published.

ALTER TABLE record_proofs ADD COLUMN gone BIGINT NOT NULL DEFAULT 0;
UPDATE record_proofs SET gone = 1;
