ALTER TABLE daily_sync_status
    ADD COLUMN standing_rows  bigint,
    ADD COLUMN standing_since timestamptz,
    ADD COLUMN warning        text,
    ADD CONSTRAINT daily_sync_status_standing_rows_of_day
        CHECK ((standing_rows IS NULL) = (standing_since IS NULL)
               AND (standing_rows IS NULL OR standing_rows >= 0 AND kind = 'day'));
ALTER TABLE sync_attempt ADD COLUMN refused boolean NOT NULL DEFAULT false;

-- The rows of a day were loaded by its latest successful attempt, unless its record says that it
-- failed then (its rows have been lost with their table) or the table was missing later.
ALTER TABLE daily_sync_status DISABLE TRIGGER USER;  -- no reader needs these changes
UPDATE daily_sync_status SET standing_rows = success_count, standing_since = end_time
WHERE kind = 'day' AND status = 'success';
UPDATE daily_sync_status AS record
SET standing_rows = latest.rows_loaded, standing_since = latest.ended_at
FROM (SELECT DISTINCT ON (dataset, sync_date) dataset, sync_date, attempt, rows_loaded, ended_at
      FROM sync_attempt WHERE state = 'success'
      ORDER BY dataset, sync_date, ended_at DESC) AS latest
WHERE record.kind = 'day' AND record.status <> 'success'
  AND (record.end_time IS NULL OR record.end_time > latest.ended_at)
  AND record.dataset = latest.dataset AND record.sync_date = latest.sync_date
  AND NOT EXISTS (SELECT FROM sync_correction
                  WHERE dataset = record.dataset AND corrected_at > latest.ended_at
                    AND why LIKE 'the target table % was missing');
ALTER TABLE daily_sync_status ENABLE TRIGGER USER;

-- The metrics of a dataset's days.
DROP INDEX daily_sync_status_days_by_state;
CREATE INDEX daily_sync_status_days_by_state ON daily_sync_status (dataset, status)
    INCLUDE (standing_rows, standing_since) WHERE kind = 'day';
-- Among indexes that seem equally cheap, as all do before the first ANALYZE, PostgreSQL chooses the
-- newest one; so these two, which find a single row, have to be the last.
DROP INDEX daily_sync_status_one_record_per_day;
CREATE UNIQUE INDEX daily_sync_status_one_record_per_day
    ON daily_sync_status (dataset, sync_date) WHERE kind = 'day';
DROP INDEX sync_attempt_one_current_per_day_of_batch;
CREATE UNIQUE INDEX sync_attempt_one_current_per_day_of_batch
    ON sync_attempt (batch_id, sync_date) WHERE NOT superseded;

CREATE OR REPLACE VIEW sync_day_coverage AS
SELECT d.dataset, c.day::date AS sync_date,
       CASE WHEN r.status = 'failed' AND r.standing_since IS NOT NULL THEN 'resync_failed'
            ELSE coalesce(r.status, 'missing') END AS state,
       r.total_records, r.success_count AS rows_loaded, r.failed_count AS rows_rejected,
       r.end_time, r.error_message, r.standing_rows, r.standing_since
FROM (SELECT dataset, min(start_date) AS first_day, max(end_date) AS last_day
      FROM daily_sync_status GROUP BY dataset) d
CROSS JOIN LATERAL generate_series(d.first_day, d.last_day, interval '1 day') AS c (day)
LEFT JOIN daily_sync_status r
       ON r.dataset = d.dataset AND r.sync_date = c.day::date AND r.kind = 'day';

-- Weeks in UTC, so that they do not depend on the session; 100 % only if all attempts succeeded.
CREATE OR REPLACE VIEW sync_success_rate_by_week AS
SELECT dataset, date_trunc('week', ended_at AT TIME ZONE 'UTC')::date AS week,
       count(*) FILTER (WHERE state = 'success') AS success_count,
       count(*) FILTER (WHERE state = 'failed') AS failed_count,
       least(round(100.0 * count(*) FILTER (WHERE state = 'success') / count(*), 1),
             CASE WHEN bool_or(state = 'failed') THEN 99.9 ELSE 100.0 END) AS success_percent
FROM sync_attempt WHERE state IN ('success', 'failed') AND attempt IS NOT NULL
GROUP BY dataset, date_trunc('week', ended_at AT TIME ZONE 'UTC');

COMMENT ON COLUMN daily_sync_status.standing_rows IS
    'Day record: rows of the day that the target contains, even if the latest attempt failed.';
COMMENT ON COLUMN daily_sync_status.standing_since IS
    'Day record: when these rows were loaded; NULL if none were, or if they are lost.';
COMMENT ON COLUMN daily_sync_status.warning IS
    'Day record: what is unusual about the rows that the target contains; NULL if nothing is.';
COMMENT ON COLUMN sync_attempt.refused IS
    'Whether it failed because append_only without a key does not load a day that has rows.';
COMMENT ON VIEW sync_day_coverage IS
    'Every day from the first to the last known one, with its state, missing, or resync_failed.';
COMMENT ON VIEW sync_success_rate_by_week IS
    'Attempts that started and then succeeded or failed, by ISO week (UTC).';
