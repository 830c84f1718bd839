-- +goose Up
-- What has been published to FECs. published is 1 for what the current generation says, 0 for what was before.

CREATE TABLE published_fecs (
    fec        TEXT   NOT NULL,
    serial     BIGINT NOT NULL,
    commit_id  TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    manifest   TEXT   NOT NULL,
    published  BIGINT NOT NULL,
    PRIMARY KEY (fec, serial)
);

CREATE TABLE published_software (
    fec      TEXT   NOT NULL,
    serial   BIGINT NOT NULL,
    software TEXT   NOT NULL,
    version  TEXT   NOT NULL,
    PRIMARY KEY (fec, serial, software)
);

CREATE TABLE published_releases (
    software   TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    published  BIGINT NOT NULL,
    PRIMARY KEY (software, version)
);
