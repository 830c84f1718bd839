-- +goose Up
-- Campaigns: what was planned, what was handed to batch systems and what became of it. Times are milliseconds since 1970, 0 for none.

CREATE TABLE campaigns (
    uid       TEXT   PRIMARY KEY,
    name      TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    detail    TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    commit_id TEXT   NOT NULL,
    spec      TEXT   NOT NULL,
    cycle     BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    began     BIGINT NOT NULL
);

-- How far a stage is, once for each start of a schedule: also of one whose input was empty, and that has no slices.
CREATE TABLE campaign_stages (
    uid       TEXT   NOT NULL,
    stage     TEXT   NOT NULL,
    epoch     BIGINT NOT NULL,
    cycle     TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    detail    TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    inputs    BIGINT NOT NULL,
    commit_id TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (uid, stage, epoch, cycle)
);

CREATE TABLE slices (
    uid    TEXT   NOT NULL,
    stage  TEXT   NOT NULL,
    epoch  BIGINT NOT NULL,
    slice  TEXT   NOT NULL,
    label  TEXT   NOT NULL,
    digest TEXT   NOT NULL,
    inputs BIGINT NOT NULL,
    params TEXT   NOT NULL,
    cycle  TEXT   NOT NULL,
    test   BIGINT NOT NULL,
    state  TEXT   NOT NULL,
    detail TEXT   NOT NULL,
    round  BIGINT NOT NULL,
    tries  BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    began  BIGINT NOT NULL,
    PRIMARY KEY (uid, stage, epoch, slice)
);

-- Names of inputs, one in a line. They are many, and hardly ever asked for.
CREATE TABLE slice_inputs (
    uid   TEXT   NOT NULL,
    stage TEXT   NOT NULL,
    epoch BIGINT NOT NULL,
    slice TEXT   NOT NULL,
    names TEXT   NOT NULL,
    PRIMARY KEY (uid, stage, epoch, slice)
);

-- What is still to be done for another stage because a slice has ended: entered with the end, taken with what it leads to.
CREATE TABLE slice_edges (
    uid       TEXT   NOT NULL,
    stage     TEXT   NOT NULL,
    epoch     BIGINT NOT NULL,
    slice     TEXT   NOT NULL,
    dependent TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    taken     BIGINT NOT NULL,
    PRIMARY KEY (uid, stage, epoch, slice, dependent)
);

-- One call of a batch system each: a job, or an array of jobs.
CREATE TABLE launches (
    launch    TEXT   PRIMARY KEY,
    engine    TEXT   NOT NULL,
    uid       TEXT   NOT NULL,
    stage     TEXT   NOT NULL,
    profile   TEXT   NOT NULL,
    tasks     BIGINT NOT NULL,
    commit_id TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    detail    TEXT   NOT NULL,
    job       TEXT   NOT NULL,
    calls     BIGINT NOT NULL,
    releases  BIGINT NOT NULL,
    intended  BIGINT NOT NULL,
    called    BIGINT NOT NULL,
    submitted BIGINT NOT NULL,
    released  BIGINT NOT NULL
);
CREATE INDEX launches_of_engine ON launches (engine, state);

DROP VIEW campaign_submissions;
DROP TABLE submissions;

CREATE TABLE submissions (
    submission TEXT   PRIMARY KEY,
    uid        TEXT   NOT NULL,
    stage      TEXT   NOT NULL,
    epoch      BIGINT NOT NULL,
    slice      TEXT   NOT NULL,
    round      BIGINT NOT NULL,
    attempt    BIGINT NOT NULL,
    launch     TEXT   NOT NULL,
    task       BIGINT NOT NULL,
    engine     TEXT   NOT NULL,
    job        TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL,
    exit_code  BIGINT NOT NULL,
    signal     BIGINT NOT NULL,
    node       TEXT   NOT NULL,
    cpu        BIGINT NOT NULL,
    memory     BIGINT NOT NULL,
    intended   BIGINT NOT NULL,
    submitted  BIGINT NOT NULL,
    began      BIGINT NOT NULL,
    ended      BIGINT NOT NULL,
    events     BIGINT NOT NULL
);
CREATE UNIQUE INDEX submissions_of_slice ON submissions (uid, stage, epoch, slice, round, attempt);
CREATE INDEX submissions_of_launch ON submissions (launch, task);

-- Every state that a submission has been in. Rows are only ever added.
CREATE TABLE submission_events (
    submission TEXT   NOT NULL,
    number     BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (submission, number)
);

-- Who has approved, accepted, repeated or cancelled what. Rows are only ever added.
CREATE TABLE campaign_evidence (
    uid       TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    stage     TEXT   NOT NULL,
    slice     TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    person    TEXT   NOT NULL,
    source    TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    commit_id TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (uid, number)
);

-- For other tools. Times are seconds since 1970.
CREATE VIEW campaign_submissions AS
SELECT COALESCE(c.name, s.uid) AS campaign, s.stage AS stage, s.slice AS slice, s.attempt AS attempt, s.submission AS submission,
       s.engine AS engine, s.job AS job, s.state AS state, s.commit_id AS commit_id,
       s.intended / 1000 AS intended, s.submitted / 1000 AS submitted, s.ended / 1000 AS ended, s.exit_code AS exit_code,
       s.uid AS uid, s.epoch AS epoch, s.round AS round, s.launch AS launch, s.node AS node
FROM submissions s LEFT JOIN campaigns c ON c.uid = s.uid;
