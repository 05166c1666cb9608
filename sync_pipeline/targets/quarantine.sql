-- create: create the table for quarantined rows
CREATE TABLE IF NOT EXISTS sync_rejected_row (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset     text        NOT NULL,
    sync_date   date        NOT NULL,
    row_number  bigint      NOT NULL,
    row_values  json        NOT NULL,
    error       text        NOT NULL,
    batch_id    bigint,
    run_id      text,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS sync_rejected_row_of_day ON sync_rejected_row (dataset, sync_date, id);
COMMENT ON TABLE sync_rejected_row IS
    'Rows that a target table rejected (on_bad_row: quarantine), until they are replayed or '
    'their day is synced again.';
COMMENT ON COLUMN sync_rejected_row.row_number IS 'The row''s number within its day, starting at 1.';
COMMENT ON COLUMN sync_rejected_row.row_values IS
    'The row''s values by column, as PostgreSQL text input.';
COMMENT ON COLUMN sync_rejected_row.batch_id IS
    'The batch''s id in daily_sync_status; NULL if the day is not part of a batch.'

-- exists: whether the table exists
SELECT to_regclass('sync_rejected_row') IS NOT NULL

-- delete_day: delete the rows of a day
DELETE FROM sync_rejected_row WHERE dataset = %(dataset)s AND sync_date = %(day)s

-- insert: insert a row
INSERT INTO sync_rejected_row
    (dataset, sync_date, row_number, row_values, error, batch_id, run_id)
VALUES
    (%(dataset)s, %(day)s, %(row_number)s, %(row_values)s, %(error)s, %(batch_id)s, %(run_id)s)

-- days: the days of a dataset that have quarantined rows
SELECT sync_date FROM sync_rejected_row
WHERE dataset = %(dataset)s AND (%(day)s::date IS NULL OR sync_date = %(day)s)
GROUP BY sync_date ORDER BY sync_date

-- rows: the quarantined rows of a day
SELECT id, row_number, row_values::text FROM sync_rejected_row
WHERE dataset = %(dataset)s AND sync_date = %(day)s ORDER BY id

-- delete: delete a row that was loaded
DELETE FROM sync_rejected_row WHERE id = %(id)s

-- update_error: store why a row was rejected again
UPDATE sync_rejected_row SET error = %(error)s WHERE id = %(id)s
