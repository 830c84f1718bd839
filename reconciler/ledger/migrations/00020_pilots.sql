-- +goose Up
-- Who is known to have written a record of a pilot or a prerequisite, by the digest of what it says.

CREATE TABLE record_proofs (
    section TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    record  TEXT   NOT NULL,
    digest  TEXT   NOT NULL,
    author  TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (section, name, record, digest)
);

-- What was first seen of pilots when: kind is state, wave or trip.
CREATE TABLE pilot_sights (
    pilot  TEXT   NOT NULL,
    kind   TEXT   NOT NULL,
    what   TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    detail TEXT   NOT NULL,
    PRIMARY KEY (pilot, kind, what)
);

-- Which version of a software a FEC has proven to run, in which state, and since when without a break.
CREATE TABLE pilot_runs (
    fec      TEXT   NOT NULL,
    software TEXT   NOT NULL,
    serial   BIGINT NOT NULL,
    version  TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    PRIMARY KEY (fec, software)
);
