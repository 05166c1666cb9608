-- Rename to the terms in docs/glossary.md. Data and privileges are kept; nothing is dropped.
ALTER TABLE sync_attempt RENAME COLUMN told_at TO materialized_at;
ALTER INDEX sync_attempt_untold RENAME TO sync_attempt_unreported;
ALTER INDEX sync_attempt_one_standing_per_day_of_batch
    RENAME TO sync_attempt_one_current_per_day_of_batch;
ALTER TABLE sync_worker RENAME COLUMN place TO host_id;

ALTER FUNCTION sync_take_up_again(bigint, text) RENAME TO sync_retry_batch;
ALTER FUNCTION sync_withdraw_days(bigint, text, text) RENAME TO sync_cancel_pending;

-- The same functions, with clearer error messages.
DO $do$
DECLARE
    schema_name text := current_schema();
BEGIN
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION sync_open_batch(
            p_batch_key text, p_dataset text, p_days date[], p_triggered_by text,
            p_already_synced text, p_sync_date date, p_remarks text
        ) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
        DECLARE
            opened bigint;
        BEGIN
            IF p_batch_key NOT LIKE 'api-%%' OR coalesce(cardinality(p_days), 0) = 0 THEN
                RAISE EXCEPTION 'the batch key must begin with api- and at least one day is required';
            END IF;
            INSERT INTO daily_sync_status
                (sync_date, status, remarks, start_time, dataset, kind, batch_key, start_date,
                 end_date, total_days, triggered_by, already_synced, heartbeat_at)
            SELECT p_sync_date, 'syncing', p_remarks, clock_timestamp(), p_dataset, 'batch',
                   p_batch_key, min(day), max(day), count(DISTINCT day), p_triggered_by,
                   p_already_synced, clock_timestamp()
            FROM unnest(p_days) AS day
            ON CONFLICT (batch_key, dataset) DO NOTHING
            RETURNING id INTO opened;
            INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, triggered_by)
            SELECT DISTINCT p_dataset, day, opened, 'pending', p_triggered_by
            FROM unnest(p_days) AS day WHERE opened IS NOT NULL;
            RETURN opened;
        END
        $$
    $f$, schema_name);

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION sync_retry_batch(
            p_batch_id bigint, p_triggered_by text
        ) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
        DECLARE
            failed date[];
        BEGIN
            WITH superseded AS (
                UPDATE sync_attempt SET superseded = true
                WHERE batch_id = p_batch_id AND NOT superseded AND state = 'failed'
                  AND EXISTS (SELECT FROM daily_sync_status WHERE id = p_batch_id
                              AND status = 'failed' AND batch_key IS NOT NULL)
                RETURNING sync_date
            )
            SELECT array_agg(sync_date) INTO failed FROM superseded;
            INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, triggered_by)
            SELECT record.dataset, day, record.id, 'pending', p_triggered_by
            FROM daily_sync_status record, unnest(failed) AS day WHERE record.id = p_batch_id;
            UPDATE daily_sync_status SET
                status = 'syncing', retried_at = clock_timestamp(), cancelled_by = NULL,
                heartbeat_at = clock_timestamp()
            WHERE id = p_batch_id AND kind = 'batch' AND status = 'failed'
              AND batch_key IS NOT NULL AND failed IS NOT NULL;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'record %% is not a batch with failed days', p_batch_id
                    USING ERRCODE = 'no_data_found';
            END IF;
            RETURN cardinality(failed);
        END
        $$
    $f$, schema_name);

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION sync_cancel_pending(
            p_batch_id bigint, p_error text, p_cancelled_by text
        ) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
        DECLARE
            cancelled integer;
        BEGIN
            UPDATE sync_attempt SET
                state = 'failed', ended_at = clock_timestamp(), error_message = p_error
            WHERE batch_id = p_batch_id AND state = 'pending' AND NOT superseded;
            GET DIAGNOSTICS cancelled = ROW_COUNT;
            -- This also locks the record until its days are counted.
            UPDATE daily_sync_status SET cancelled_by = coalesce(p_cancelled_by, cancelled_by)
            WHERE id = p_batch_id AND kind = 'batch' AND status = 'syncing'
              AND batch_key IS NOT NULL;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'record %% is not a running batch', p_batch_id
                    USING ERRCODE = 'no_data_found';
            END IF;
            RETURN cancelled;
        END
        $$
    $f$, schema_name);
END
$do$;

COMMENT ON TABLE daily_sync_status IS
    'One row per day (its latest state) and one per batch. A public contract: docs/contract.md.';
COMMENT ON COLUMN daily_sync_status.id IS 'Primary key.';
COMMENT ON COLUMN daily_sync_status.sync_date IS
    'Day record: the day. Batch record: the middle of its date range, rounded down.';
COMMENT ON COLUMN daily_sync_status.total_records IS
    'Day record: rows read from the source. Batch record: rows read so far.';
COMMENT ON COLUMN daily_sync_status.remarks IS
    'Summary in Chinese. Contains 批量同步 if and only if the record is a batch.';
COMMENT ON COLUMN daily_sync_status.error_message IS
    'Why the day failed; for a batch, which days failed. One line, without secrets.';
COMMENT ON COLUMN daily_sync_status.start_time IS
    'Day record: when the latest attempt started. Batch record: when the batch was requested.';
COMMENT ON COLUMN daily_sync_status.end_time IS 'When it ended; NULL while syncing.';
COMMENT ON COLUMN daily_sync_status.duration_seconds IS 'Seconds from start to end, rounded down.';
COMMENT ON COLUMN daily_sync_status.batch_key IS
    'Identifies the batch within its dataset: a run tag, the backfill ID or the root run ID. NULL for a day.';
COMMENT ON COLUMN daily_sync_status.start_date IS 'First day; the day itself for a day record.';
COMMENT ON COLUMN daily_sync_status.end_date IS 'Last day, inclusive.';
COMMENT ON COLUMN daily_sync_status.total_days IS
    'Number of days in the batch (less than the date range if there are gaps); 1 for a day record.';
COMMENT ON COLUMN daily_sync_status.skipped_count IS
    'Batch record: days skipped because they were already synced.';
COMMENT ON COLUMN daily_sync_status.attempt IS
    'Day record: number of the latest attempt; only that attempt may commit. 0 for a batch.';
COMMENT ON COLUMN daily_sync_status.run_id IS
    'Day record: the last Dagster run that wrote it. Batch record: the first run that worked on it.';
COMMENT ON COLUMN daily_sync_status.triggered_by IS
    'User, schedule, backfill or run that requested it.';
COMMENT ON COLUMN daily_sync_status.heartbeat_at IS
    'Last heartbeat of its worker; for a batch, last heartbeat or progress.';
COMMENT ON COLUMN daily_sync_status.already_synced IS
    'Batch record: whether days that are already synced are skipped (skip) or synced again (resync).';
COMMENT ON COLUMN daily_sync_status.retried_at IS
    'Batch record: when its failed days were last retried; NULL if never.';
COMMENT ON COLUMN daily_sync_status.change IS
    'Increases with every change of the record; 0 if last written before version 4.';
COMMENT ON COLUMN daily_sync_status.cancelled_by IS
    'Batch record: who cancelled it through the API; NULL if not cancelled that way.';
COMMENT ON COLUMN daily_sync_status.created_at IS 'When the record was created.';
COMMENT ON COLUMN daily_sync_status.updated_at IS 'When the record was last updated.';

COMMENT ON COLUMN sync_attempt.id IS 'Primary key.';
COMMENT ON COLUMN sync_attempt.batch_id IS
    'Record of the batch the attempt belongs to; NULL for a day synced alone.';
COMMENT ON COLUMN sync_attempt.attempt IS
    'Number of the attempt at this day of this dataset, from 1; NULL if it never started.';
COMMENT ON COLUMN sync_attempt.superseded IS
    'True if another attempt of the same batch at the same day is the current one.';
COMMENT ON COLUMN sync_attempt.rows_read IS 'Rows read, as counted by the source.';
COMMENT ON COLUMN sync_attempt.rows_loaded IS 'Rows loaded into the target.';
COMMENT ON COLUMN sync_attempt.rows_rejected IS 'Rows quarantined.';
COMMENT ON COLUMN sync_attempt.bytes IS 'Bytes sent through COPY.';
COMMENT ON COLUMN sync_attempt.error_message IS 'Why it failed. One line, without secrets.';
COMMENT ON COLUMN sync_attempt.triggered_by IS 'User, schedule, backfill or run that requested it.';
COMMENT ON COLUMN sync_attempt.started_at IS 'When the attempt started.';
COMMENT ON COLUMN sync_attempt.ended_at IS 'When it succeeded, failed or was skipped.';
COMMENT ON COLUMN sync_attempt.created_at IS 'When the attempt was planned.';
COMMENT ON COLUMN sync_attempt.materialized_at IS
    'When the success was reported to Dagster as a materialization; NULL if not yet.';

COMMENT ON TABLE sync_worker IS 'Running worker processes; a row is deleted when its worker ends.';
COMMENT ON COLUMN sync_worker.run_id IS 'Dagster run that the worker executes.';
COMMENT ON COLUMN sync_worker.host_id IS 'Identifies the machine''s boot and the worker''s process namespace.';
COMMENT ON COLUMN sync_worker.pid IS 'Process ID within that namespace.';
COMMENT ON COLUMN sync_worker.process_started IS 'When the process started, Unix time in seconds.';
COMMENT ON COLUMN sync_worker.started_at IS 'When the worker registered.';
COMMENT ON COLUMN sync_worker.heartbeat_at IS 'Its last heartbeat.';

COMMENT ON TABLE sync_correction IS 'Corrections made by the reconciler or a worker, with the reason.';
COMMENT ON COLUMN sync_correction.id IS 'Primary key.';
COMMENT ON COLUMN sync_correction.corrected_at IS 'When the correction was made.';
COMMENT ON COLUMN sync_correction.what IS 'What was changed.';
COMMENT ON COLUMN sync_correction.why IS 'What was wrong.';
COMMENT ON COLUMN sync_correction.dataset IS 'Dataset concerned, if any.';
COMMENT ON COLUMN sync_correction.sync_date IS 'Day concerned, if any.';
COMMENT ON COLUMN sync_correction.batch_key IS 'Batch concerned, if any.';
COMMENT ON COLUMN sync_correction.run_id IS 'Dagster run concerned, if any.';

COMMENT ON TABLE sync_source_columns IS
    'Columns of each dataset''s source when it was last opened, to detect changes.';
COMMENT ON COLUMN sync_source_columns.columns IS 'Type of each column, as PostgreSQL names it.';
COMMENT ON COLUMN sync_source_columns.seen_at IS 'When these columns were first seen.';

COMMENT ON VIEW sync_batch_progress IS
    'Batches with percent complete, rows per second and estimated seconds left.';
COMMENT ON VIEW sync_day_coverage IS
    'Every day from the first to the last known one, with its state or missing.';
COMMENT ON VIEW sync_day_gap IS 'Ranges of consecutive days that are missing or failed.';
COMMENT ON VIEW sync_success_rate_by_week IS
    'Attempts that started and then succeeded or failed, by ISO week.';
COMMENT ON VIEW sync_slowest_day IS 'Successful attempts, slowest first.';
