-- table_exists: whether the outbox has ever been used in this database
SELECT to_regclass('sync_outbox') IS NOT NULL

-- create_table: create the outbox, one process at a time
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
    'Committed days whose success is not recorded yet.';
COMMENT ON COLUMN sync_outbox.attempt IS
    'Number of the attempt; NULL if its start could not be recorded.';
COMMENT ON COLUMN sync_outbox.batch IS 'The batch as requested; NULL for a day synced alone.'

-- add: add a day, in the transaction that loads it
INSERT INTO sync_outbox
    (dataset, sync_date, run_id, attempt, batch,
     rows_read, rows_loaded, rows_rejected, bytes, started_at)
VALUES
    (%(dataset)s, %(day)s, %(run_id)s, %(number)s, %(batch)s,
     %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(bytes)s,
     clock_timestamp() - make_interval(secs => %(seconds)s))
RETURNING id

-- contains: whether any of these entries exists
SELECT EXISTS (SELECT FROM sync_outbox WHERE id = ANY(%(ids)s))

-- remove: remove recorded days
DELETE FROM sync_outbox WHERE id = ANY(%(ids)s)

-- entries: all days, in the order in which they were added
SELECT id, dataset, sync_date, run_id, attempt, batch,
       rows_read, rows_loaded, rows_rejected, bytes, started_at, loaded_at
FROM sync_outbox ORDER BY id
