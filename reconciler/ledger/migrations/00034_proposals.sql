-- +goose Up
-- What was found last of each pull request, or commit of a merge queue (number 0): line is what a list of them shows, told everything (JSON).
CREATE TABLE proposals (
    id      TEXT   NOT NULL PRIMARY KEY,
    number  BIGINT NOT NULL,
    head    TEXT   NOT NULL,
    merged  TEXT   NOT NULL,
    planned BIGINT NOT NULL,
    closed  BIGINT NOT NULL,
    line    TEXT   NOT NULL,
    told    TEXT   NOT NULL
);
CREATE INDEX proposals_planned ON proposals (planned);
