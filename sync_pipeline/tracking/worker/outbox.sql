-- is_there: whether a day was ever kept here
SELECT to_regclass('sync_outbox') IS NOT NULL

-- make: where days are kept that are in and not recorded yet
SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline table: sync_outbox', 0));
CREATE TABLE IF NOT EXISTS sync_outbox (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset       text        NOT NULL,
    sync_date     date        NOT NULL,
    run_id        text        NOT NULL,
    attempt       integer,
    batch         json,
    rows_read     bigint      NOT NULL,
    rows_loaded   bigint      NOT NULL,
    rows_rejected bigint      NOT NULL,
    bytes         bigint      NOT NULL,
    started_at    timestamptz NOT NULL,
    loaded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE sync_outbox IS
    'Days whose rows are in and whose success could not be written in the same transaction, until '
    'it is recorded.';
COMMENT ON COLUMN sync_outbox.attempt IS
    'The attempt''s number; NULL if it could not be begun in the records.';
COMMENT ON COLUMN sync_outbox.batch IS 'What its batch was asked for; NULL for a day alone.'

-- add: a day, in the transaction that loads it
INSERT INTO sync_outbox
    (dataset, sync_date, run_id, attempt, batch,
     rows_read, rows_loaded, rows_rejected, bytes, started_at)
VALUES
    (%(dataset)s, %(day)s, %(run_id)s, %(number)s, %(batch)s,
     %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(bytes)s,
     clock_timestamp() - make_interval(secs => %(seconds)s))
RETURNING id

-- has: whether a day is kept
SELECT EXISTS (SELECT FROM sync_outbox WHERE id = ANY(%(ids)s))

-- remove: days that are recorded
DELETE FROM sync_outbox WHERE id = ANY(%(ids)s)

-- all: every day that is kept, in order
SELECT id, dataset, sync_date, run_id, attempt, batch,
       rows_read, rows_loaded, rows_rejected, bytes, started_at, loaded_at
FROM sync_outbox ORDER BY id
