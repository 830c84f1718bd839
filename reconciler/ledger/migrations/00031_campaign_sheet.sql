-- +goose Up
-- How many inputs each submission was handed in with, and how many files it had left when its end was seen. Of those that were handed in before, nobody
-- knows what they left, nor what recoveries were handed in with. The others had what their slices have but what recoveries have given these (lines).

ALTER TABLE submissions ADD COLUMN inputs BIGINT NOT NULL DEFAULT 0;
ALTER TABLE submissions ADD COLUMN outputs BIGINT NOT NULL DEFAULT 0;
UPDATE submissions SET inputs = COALESCE((SELECT s.inputs - COALESCE((SELECT SUM(LENGTH(a.names) - LENGTH(REPLACE(a.names, '
', '')) + 1) FROM slice_added a WHERE a.uid = s.uid AND a.stage = s.stage AND a.epoch = s.epoch AND a.slice = s.slice), 0)
    FROM slices s WHERE s.uid = submissions.uid AND s.stage = submissions.stage AND s.epoch = submissions.epoch
    AND s.slice = submissions.slice), 0) WHERE round = 0;

-- Campaigns of very many slices are counted by these alone, without reading the rows.

CREATE INDEX slices_counted ON slices (uid, stage, epoch, test, state, began, inputs);
CREATE INDEX submissions_counted ON submissions (uid, stage, epoch, state, round, attempt, cpu, memory, began, ended);
CREATE INDEX submissions_by_day ON submissions (uid, intended, stage, state, exit_code, signal, inputs, outputs, began, ended);
