-- +goose Up
-- What FECs said. Each FEC counts its own reports, so that nobody else's can push them out.

CREATE TABLE reports (
    fec     TEXT   NOT NULL,
    number  BIGINT NOT NULL,
    serial  BIGINT NOT NULL,
    state   TEXT   NOT NULL,
    slot    TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    client  TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    sender  TEXT   NOT NULL,
    preview BIGINT NOT NULL,
    dev     TEXT   NOT NULL,
    clock   BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (fec, number)
);

-- The last one of each FEC that is not about a preview: of any source, and (proven = 1) of those that prove who sent it.
CREATE TABLE latest_reports (
    fec     TEXT   NOT NULL,
    proven  BIGINT NOT NULL,
    serial  BIGINT NOT NULL,
    state   TEXT   NOT NULL,
    slot    TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    client  TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    sender  TEXT   NOT NULL,
    preview BIGINT NOT NULL,
    dev     TEXT   NOT NULL,
    clock   BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (fec, proven)
);
