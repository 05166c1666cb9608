-- Privileges of the API's database role: read the records, open a batch, retry a failed batch, and
-- cancel the pending days of a running batch. The role cannot change or delete history.
--
-- First create the role, as an administrator:  CREATE ROLE sync_api LOGIN PASSWORD '…';
-- Then run this file in the database with the tracking tables, as the user who ran
-- `sync-pipeline migrate`; repeat this after each upgrade:
--     psql "$SYNC_DATABASE_URL" -f deploy/api_role.sql
-- The API then connects with SYNC_API_TRACKING_URL. If the tables are in a schema other than public,
-- set it as the search path for `migrate` and `psql`, and in the API's URL
-- (…?options=-csearch_path%3Dname).

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sync_api', current_schema());
END
$$;

GRANT SELECT ON daily_sync_status, sync_attempt, sync_batch_progress, sync_pipeline_version
    TO sync_api;

-- These functions run with their owner's privileges and make only the changes listed above.
GRANT EXECUTE ON FUNCTION
    sync_request_batch(text, text, date[], text, text),
    sync_retry_batch(bigint, text),
    sync_cancel_pending(bigint, text, text)
    TO sync_api;
