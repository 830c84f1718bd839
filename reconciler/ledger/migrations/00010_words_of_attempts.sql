-- +goose Up
-- What jobs have said of their inputs, by submission: whether a word counts depends on how its attempt ends. Earlier words do not say whose
-- they are; without them, the attempts decide.

DROP TABLE input_words;

CREATE TABLE input_words (
    submission TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    uid        TEXT   NOT NULL,
    stage      TEXT   NOT NULL,
    epoch      BIGINT NOT NULL,
    slice      TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (submission, name)
);

CREATE INDEX input_words_of_slice ON input_words (uid, stage, epoch, slice);
