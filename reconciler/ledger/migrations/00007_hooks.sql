-- +goose Up
-- The generation that each hook after publication was told of last, and what went wrong since: tries is 0 if nothing did.

CREATE TABLE hooks (
    hook       TEXT   PRIMARY KEY,
    generation BIGINT NOT NULL,
    commit_id  TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    since      BIGINT NOT NULL,
    trouble    TEXT   NOT NULL
);
