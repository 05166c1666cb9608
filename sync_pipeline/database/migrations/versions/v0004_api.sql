-- Every write numbers the record anew. The number is taken while the record is held, so that it
-- rises with every change of the record; of two records, the later number may become visible first.
CREATE SEQUENCE daily_sync_status_change;
-- Whoever may write the table must be able to number what they write.
GRANT USAGE ON SEQUENCE daily_sync_status_change TO PUBLIC;

ALTER TABLE daily_sync_status
    ADD COLUMN change bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancelled_by text;

-- The names of the schema are written into these functions, so that they mean the same whatever
-- the search path of whoever calls them.
DO $do$
DECLARE
    here text := current_schema();
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION daily_sync_status_number() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.change := nextval(%L);
            RETURN NEW;
        END
        $$
    $f$, format('%I.daily_sync_status_change', here));

    EXECUTE format($f$
        CREATE FUNCTION sync_open_batch(
            p_batch_key text, p_dataset text, p_days date[], p_triggered_by text,
            p_already_synced text, p_sync_date date, p_remarks text
        ) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
        DECLARE
            opened bigint;
        BEGIN
            IF p_batch_key NOT LIKE 'api-%%' OR coalesce(cardinality(p_days), 0) = 0 THEN
                RAISE EXCEPTION 'a batch of the API has a key api-… and at least one day';
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
    $f$, here);

    EXECUTE format($f$
        CREATE FUNCTION sync_withdraw_days(
            p_batch_id bigint, p_error text, p_cancelled_by text
        ) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
        DECLARE
            withdrawn integer;
        BEGIN
            UPDATE sync_attempt SET
                state = 'failed', ended_at = clock_timestamp(), error_message = p_error
            WHERE batch_id = p_batch_id AND state = 'pending' AND NOT superseded;
            GET DIAGNOSTICS withdrawn = ROW_COUNT;
            -- Also holds the record until the days are counted.
            UPDATE daily_sync_status SET cancelled_by = coalesce(p_cancelled_by, cancelled_by)
            WHERE id = p_batch_id AND kind = 'batch' AND status = 'syncing'
              AND batch_key IS NOT NULL;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'record %% is no batch at work', p_batch_id
                    USING ERRCODE = 'no_data_found';
            END IF;
            RETURN withdrawn;
        END
        $$
    $f$, here);

    EXECUTE format($f$
        CREATE FUNCTION sync_project_batch(
            p_batch_id bigint, p_remarks text, p_error_message text
        ) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
            UPDATE daily_sync_status SET
                status = CASE WHEN days.open > 0 THEN 'syncing'
                              WHEN days.failed > 0 THEN 'failed' ELSE 'success' END,
                total_records = days.rows_read, success_count = days.success,
                failed_count = days.failed, skipped_count = days.skipped,
                remarks = p_remarks, error_message = p_error_message
            FROM (
                SELECT count(*) FILTER (WHERE state IN ('pending', 'syncing')) AS open,
                       count(*) FILTER (WHERE state = 'success') AS success,
                       count(*) FILTER (WHERE state = 'failed') AS failed,
                       count(*) FILTER (WHERE state = 'skipped') AS skipped,
                       coalesce(sum(rows_read) FILTER (WHERE state = 'success'), 0) AS rows_read
                FROM sync_attempt WHERE batch_id = p_batch_id AND NOT superseded
            ) AS days
            WHERE id = p_batch_id AND kind = 'batch' AND status = 'syncing'
              AND batch_key IS NOT NULL
        $$
    $f$, here);
END
$do$;

CREATE FUNCTION daily_sync_status_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('daily_sync_status', NEW.id::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER daily_sync_status_number BEFORE INSERT OR UPDATE ON daily_sync_status
    FOR EACH ROW EXECUTE FUNCTION daily_sync_status_number();
CREATE TRIGGER daily_sync_status_notify AFTER INSERT OR UPDATE ON daily_sync_status
    FOR EACH ROW EXECUTE FUNCTION daily_sync_status_notify();

-- They write in their owner's name: deploy/api_role.sql gives them to the API's role.
REVOKE ALL ON FUNCTION sync_open_batch(text, text, date[], text, text, date, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_withdraw_days(bigint, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_project_batch(bigint, text, text) FROM PUBLIC;

CREATE INDEX daily_sync_status_by_change ON daily_sync_status (change);
-- The orders of a list; each is read from either end.
CREATE INDEX daily_sync_status_by_start ON daily_sync_status (start_time, id);
CREATE INDEX daily_sync_status_by_date ON daily_sync_status (sync_date, id);
CREATE INDEX daily_sync_status_by_duration
    ON daily_sync_status ((coalesce(duration_seconds, -1)), id);
-- Its filters, where walking an order would pass over too much.
CREATE INDEX daily_sync_status_of_dataset ON daily_sync_status (dataset, start_time, id);
CREATE INDEX daily_sync_status_failed_by_start
    ON daily_sync_status (start_time, id) WHERE status = 'failed';
CREATE INDEX daily_sync_status_batches_by_range
    ON daily_sync_status (end_date, start_date) WHERE kind = 'batch';
-- The figures of a dataset's days.
CREATE INDEX daily_sync_status_days_by_state
    ON daily_sync_status (dataset, status) INCLUDE (success_count, end_time) WHERE kind = 'day';
-- A batch's speed, its history, and its deletion.
CREATE INDEX sync_attempt_of_batch ON sync_attempt (batch_id, started_at);

COMMENT ON COLUMN daily_sync_status.change IS
    'Rises with every change of the record; 0 for what was last written before version 4.';
COMMENT ON COLUMN daily_sync_status.cancelled_by IS
    'Batch record: who cancelled it over the API; NULL if nobody did.';
