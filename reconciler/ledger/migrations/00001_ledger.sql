-- +goose Up
-- Times are milliseconds since 1970; 0 is none.

CREATE TABLE passes (
    id         BIGINT PRIMARY KEY,
    started    BIGINT NOT NULL,
    ended      BIGINT NOT NULL,
    wanted     TEXT   NOT NULL,
    published  TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    tree       TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    blocked    TEXT   NOT NULL
);

CREATE TABLE accepted (
    branch   TEXT   PRIMARY KEY,
    commit_id TEXT  NOT NULL,
    at       BIGINT NOT NULL
);

CREATE TABLE holds (
    id        TEXT   PRIMARY KEY,
    number    BIGINT NOT NULL,
    scope     TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    source    TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    placed_by TEXT   NOT NULL,
    commit_id TEXT   NOT NULL,
    bad       TEXT   NOT NULL,
    since     BIGINT NOT NULL,
    until     BIGINT NOT NULL,
    ended     BIGINT NOT NULL,
    ended_by  TEXT   NOT NULL,
    ended_why TEXT   NOT NULL
);

CREATE TABLE overrides (
    hold      TEXT   PRIMARY KEY,
    reason    TEXT   NOT NULL,
    placed_by TEXT   NOT NULL,
    since     BIGINT NOT NULL,
    until     BIGINT NOT NULL
);

CREATE TABLE seen_holds (
    id    TEXT   PRIMARY KEY,
    since BIGINT NOT NULL
);

CREATE TABLE checks (
    git_tree TEXT   NOT NULL,
    pomona   TEXT   NOT NULL,
    givens   TEXT   NOT NULL,
    tree     TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (git_tree, pomona, givens)
);

CREATE TABLE deliveries (
    source TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX deliveries_at ON deliveries (at);

CREATE TABLE notifications (
    target TEXT   NOT NULL,
    hash   TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    body   TEXT   NOT NULL,
    tries  BIGINT NOT NULL,
    due    BIGINT NOT NULL,
    PRIMARY KEY (target, hash)
);
CREATE INDEX notifications_due ON notifications (due);

CREATE TABLE previews (
    number  BIGINT PRIMARY KEY,
    head    TEXT   NOT NULL,
    tree    TEXT   NOT NULL,
    bytes   BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
