-- +goose Up
-- Since when the information system has said the same of a site's resources.

ALTER TABLE pilot_probes ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
UPDATE pilot_probes SET since = at;
