-- What the API's own database role may do: read the records, open a batch, take one up again that
-- failed, withdraw the days of a batch at work that nobody has begun. It can change or delete no
-- history.
--
-- Once, as an administrator:  CREATE ROLE sync_api LOGIN PASSWORD '…';
-- Then, in the database of the tracking tables, as the user whose `sync-pipeline migrate` made them,
-- and again after each upgrade:  psql "$SYNC_DATABASE_URL" -f deploy/api_role.sql
-- The API then connects by SYNC_API_TRACKING_URL. If the tables stand in another schema than public,
-- both commands need it as search path (…?options=-csearch_path%3Dname), and so does the API's URL.

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sync_api', current_schema());
END
$$;

GRANT SELECT ON daily_sync_status, sync_attempt, sync_batch_progress, sync_pipeline_version
    TO sync_api;

-- They write in their owner's name, and nothing but what their names say.
GRANT EXECUTE ON FUNCTION
    sync_open_batch(text, text, date[], text, text, date, text),
    sync_take_up_again(bigint, text),
    sync_withdraw_days(bigint, text, text),
    sync_project_batch(bigint, text, text)
    TO sync_api;
