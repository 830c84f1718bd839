-- +goose Up
-- Views for other tools: their names and columns stay. Times in them are seconds since 1970; 0 is none.

-- Batch submissions of campaigns: a row for each attempt at a slice.
CREATE TABLE submissions (
    submission TEXT   PRIMARY KEY,
    campaign   TEXT   NOT NULL,
    stage      TEXT   NOT NULL,
    slice      TEXT   NOT NULL,
    attempt    BIGINT NOT NULL,
    engine     TEXT   NOT NULL,
    job        TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL,
    intended   BIGINT NOT NULL,
    submitted  BIGINT NOT NULL,
    ended      BIGINT NOT NULL,
    exit_code  BIGINT NOT NULL
);

CREATE VIEW releases AS
SELECT r.software AS software,
       r.version AS version,
       r.published AS published,
       r.at / 1000 AS since,
       r.commit_id AS commit_id,
       (SELECT COUNT(*) FROM published_software s JOIN published_fecs f ON f.fec = s.fec AND f.serial = s.serial
         WHERE f.published = 1 AND s.software = r.software AND s.version = r.version) AS fecs
FROM published_releases r;

CREATE VIEW fec_software AS
SELECT f.fec AS fec,
       s.software AS software,
       s.version AS version,
       f.serial AS serial,
       f.at / 1000 AS since,
       f.commit_id AS commit_id
FROM published_fecs f JOIN published_software s ON s.fec = f.fec AND s.serial = f.serial
WHERE f.published = 1;

-- What each FEC said last; of one that has a token, what it proved last, so that nobody who lies hides that. proven is 1 if it is
-- certain who said it. software and version are those of the serial that it named, as far as that is known, but for what pomona dev
-- has put there.
CREATE VIEW fec_running AS
SELECT r.fec AS fec,
       r.state AS state,
       r.serial AS serial,
       s.software AS software,
       s.version AS version,
       CASE WHEN r.source = 'report' THEN 0 ELSE 1 END AS proven,
       r.at / 1000 AS reported,
       COALESCE(p.serial, 0) AS published_serial,
       CASE WHEN r.state = 'running' AND r.serial = p.serial AND r.dev = '' THEN 1 ELSE 0 END AS current,
       r.dev AS dev
FROM latest_reports r
     LEFT JOIN published_software s ON s.fec = r.fec AND s.serial = r.serial
     LEFT JOIN published_fecs p ON p.fec = r.fec AND p.published = 1
WHERE r.proven = (SELECT COUNT(*) FROM latest_reports t WHERE t.fec = r.fec AND t.proven = 1 AND (t.source = 'token' OR t.clock > 0));

CREATE VIEW campaign_submissions AS
SELECT campaign, stage, slice, attempt, submission, engine, job, state, commit_id,
       intended / 1000 AS intended, submitted / 1000 AS submitted, ended / 1000 AS ended, exit_code
FROM submissions;
