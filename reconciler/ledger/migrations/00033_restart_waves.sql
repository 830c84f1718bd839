-- +goose Up
-- Restarts that were begun, and what came of them: rollouts tells only how it is now. Those of one group and wave that opened at the same time are one wave;
-- wave 0 is none, but an operator's order.

CREATE TABLE past_restarts (
    opened BIGINT NOT NULL,
    team   TEXT   NOT NULL,
    wave   BIGINT NOT NULL,
    fec    TEXT   NOT NULL,
    wanted BIGINT NOT NULL,
    was    BIGINT NOT NULL,
    need   TEXT   NOT NULL,
    state  TEXT   NOT NULL,
    detail TEXT   NOT NULL,
    began  BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (opened, team, wave, fec)
);
CREATE INDEX past_restarts_of ON past_restarts (fec, opened);
