-- table_exists: whether the outbox, in its current form, has ever been used in this database
SELECT EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = to_regclass('sync_outbox') AND attname = 'outcome')

-- create_table: create the outbox, one process at a time; replace an empty one from before version 8
SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline table: sync_outbox', 0));
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = to_regclass('sync_outbox') AND attname = 'outcome') THEN
        IF to_regclass('sync_outbox') IS NOT NULL THEN
            IF EXISTS (SELECT FROM sync_outbox) THEN
                RAISE EXCEPTION 'sync_outbox still lists days that the previous version did not record';
            END IF;
            DROP TABLE sync_outbox;
        END IF;
    END IF;
END
$$;
CREATE TABLE IF NOT EXISTS sync_outbox (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id   text        NOT NULL,
    outcome  json        NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE sync_outbox IS 'Outcomes of days that are not recorded yet.';
COMMENT ON COLUMN sync_outbox.outcome IS
    'How the day ended, and the batch as requested (NULL for a day synced alone).';

-- add: add an outcome
INSERT INTO sync_outbox (run_id, outcome) VALUES (%(run_id)s, %(outcome)s) RETURNING id

-- contains: whether any of these entries exists
SELECT EXISTS (SELECT FROM sync_outbox WHERE id = ANY(%(ids)s))

-- remove: remove recorded outcomes
DELETE FROM sync_outbox WHERE id = ANY(%(ids)s)

-- entries: all outcomes, in the order in which they were added
SELECT id, outcome, extract(epoch FROM clock_timestamp() - ended_at)::double precision
FROM sync_outbox ORDER BY id
