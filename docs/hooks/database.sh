#!/bin/sh
# A hook after publication: keeps a table of what each FEC is to run, in a database that psql finds by its environment
# (PGHOST, PGDATABASE, PGUSER, PGPASSFILE). Being told the same twice changes nothing. The table:
#
#   CREATE TABLE fec_release (fec text, software text, version text, generation bigint, PRIMARY KEY (fec, software));
set -eu

cat >document.json
psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
\set document `cat document.json`
BEGIN;
CREATE TEMPORARY TABLE told ON COMMIT DROP AS SELECT :'document'::jsonb AS d;
-- What is gone or changed is written anew; all of it, if the document does not say since when.
DELETE FROM fec_release WHERE (SELECT d->'since' FROM told) = 'null'
    OR fec IN (SELECT jsonb_array_elements_text(d->'gone') FROM told)
    OR fec IN (SELECT f->>'name' FROM told, jsonb_array_elements(d->'fecs') f);
INSERT INTO fec_release
    SELECT f->>'name', s.key, s.value, (d->>'generation')::bigint FROM told, jsonb_array_elements(d->'fecs') f, jsonb_each_text(f->'software') s;
COMMIT;
SQL
