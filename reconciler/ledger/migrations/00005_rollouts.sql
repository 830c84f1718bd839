-- +goose Up
-- How far FECs have come with what is published for them. Once nothing is left to do, only those that failed or were left out stay.

CREATE TABLE rollouts (
    fec      TEXT   PRIMARY KEY,
    wanted   BIGINT NOT NULL,
    was      BIGINT NOT NULL,
    need     TEXT   NOT NULL,
    software TEXT   NOT NULL,
    team     TEXT   NOT NULL,
    wave     BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    detail   TEXT   NOT NULL,
    boot     TEXT   NOT NULL,
    closed   BIGINT NOT NULL,
    at       BIGINT NOT NULL
);

-- Why nothing is restarted: at most one row, of id 1.
CREATE TABLE rollout_pauses (
    id        BIGINT PRIMARY KEY,
    reason    TEXT   NOT NULL,
    placed_by TEXT   NOT NULL,
    at        BIGINT NOT NULL
);
