-- +goose Up
-- Inputs that a dataset has got since a slice was cut of it, and that a recovery has given the slice: frozen with the round that works on them.
-- Names, one in a line.

CREATE TABLE slice_added (
    uid    TEXT   NOT NULL,
    stage  TEXT   NOT NULL,
    epoch  BIGINT NOT NULL,
    slice  TEXT   NOT NULL,
    round  BIGINT NOT NULL,
    digest TEXT   NOT NULL,
    names  TEXT   NOT NULL,
    PRIMARY KEY (uid, stage, epoch, slice, round)
);

-- Of which epoch of its stage the slice is that was decided about; 0: nobody has said.
ALTER TABLE campaign_evidence ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
