-- +goose Up
-- What the information system said of sites' resources when it was asked last; what people were told of pilots, once each; and how that
-- gets to them.

CREATE TABLE pilot_probes (
    pilot TEXT   NOT NULL,
    site  TEXT   NOT NULL,
    seen  BIGINT NOT NULL,
    good  BIGINT NOT NULL,
    why   TEXT   NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (pilot, site)
);

-- about: a record, an update, a site, or which of several. past: it was so when broadcasts began, and nobody was told.
-- The one of no pilot says that broadcasts have begun.
CREATE TABLE pilot_broadcasts (
    pilot TEXT   NOT NULL,
    kind  TEXT   NOT NULL,
    about TEXT   NOT NULL,
    title TEXT   NOT NULL,
    body  TEXT   NOT NULL,
    at    BIGINT NOT NULL,
    past  BIGINT NOT NULL,
    PRIMARY KEY (pilot, kind, about)
);

-- due 0: it needs no more tries, because outcome.
CREATE TABLE pilot_deliveries (
    pilot   TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    about   TEXT   NOT NULL,
    channel TEXT   NOT NULL,
    event   TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    tries   BIGINT NOT NULL,
    due     BIGINT NOT NULL,
    outcome TEXT   NOT NULL,
    PRIMARY KEY (pilot, kind, about, channel)
);
