DO $do$
DECLARE
    here text := current_schema();
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION sync_take_up_again(
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
                RAISE EXCEPTION 'record %% is no batch with days that failed', p_batch_id
                    USING ERRCODE = 'no_data_found';
            END IF;
            RETURN cardinality(failed);
        END
        $$
    $f$, here);

    -- Only the trigger numbers, in its owner's name: whoever writes the table need not be able to
    -- use up numbers. Every name in it is whole, so that no search path gives it another meaning.
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION daily_sync_status_number() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            NEW.change := pg_catalog.nextval(%L::pg_catalog.regclass);
            RETURN NEW;
        END
        $$
    $f$, format('%I.daily_sync_status_change', here));
END
$do$;

REVOKE ALL ON FUNCTION sync_take_up_again(bigint, text) FROM PUBLIC;
REVOKE ALL ON SEQUENCE daily_sync_status_change FROM PUBLIC;

-- What was written shortly before a change, and became visible after it.
CREATE INDEX daily_sync_status_by_update ON daily_sync_status (updated_at);
