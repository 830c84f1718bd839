-- +goose Up
-- How long each stage of a pass took (JSON), what the pass did in a few words, and whether it is news: it says something else than the one before it.
ALTER TABLE passes ADD COLUMN stages TEXT NOT NULL DEFAULT '[]';
ALTER TABLE passes ADD COLUMN did TEXT NOT NULL DEFAULT '';
ALTER TABLE passes ADD COLUMN news BIGINT NOT NULL DEFAULT 1;
UPDATE passes SET news = 0 WHERE outcome = 'unchanged' AND id > (SELECT MIN(id) FROM passes);
CREATE INDEX passes_news ON passes (news, id);

-- The plans of passes that are news, and what those found and were held by (JSON), by the number of the pass.
CREATE TABLE pass_plans (
    pass BIGINT PRIMARY KEY,
    told TEXT   NOT NULL
);
