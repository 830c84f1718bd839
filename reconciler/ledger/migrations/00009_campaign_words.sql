-- +goose Up
-- When something kept campaigns from going on: holds of any source, services that were not well, engines that did not answer.
-- Times are milliseconds since 1970; ended is 0 while it lasts.

CREATE TABLE disturbances (
    kind   TEXT   NOT NULL,
    name   TEXT   NOT NULL,
    scope  TEXT   NOT NULL,
    reason TEXT   NOT NULL,
    began  BIGINT NOT NULL,
    ended  BIGINT NOT NULL,
    PRIMARY KEY (kind, name, began)
);

CREATE INDEX disturbances_ended ON disturbances (ended);

-- What jobs have said of their inputs: delivered, consumed or failed. The last word counts.
CREATE TABLE input_words (
    uid   TEXT   NOT NULL,
    stage TEXT   NOT NULL,
    epoch BIGINT NOT NULL,
    slice TEXT   NOT NULL,
    name  TEXT   NOT NULL,
    state TEXT   NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (uid, stage, epoch, slice, name)
);
