-- The state machine of attempts, days and batches, as database functions.
--
--     an attempt:  pending → syncing → success, failed        pending → skipped, failed
--                  failed → success, if the rows were committed after all
--
-- Workers, hooks, sensors, the reconciler and the API all call these functions; nothing else
-- changes the state of an attempt. `sync-pipeline migrate` installs this file again whenever it has
-- changed. A worker of the previous version may be running then, so a function gets another
-- parameter only if it is optional (drop the old signature here first, or calls are ambiguous);
-- otherwise it gets another name.
--
-- Each function locks rows in this order: day record, attempt, batch record (several batches by
-- ID), so that two sessions cannot deadlock. Except for `sync_begin_day`, each is idempotent: a
-- caller repeats a call if the connection broke before the response. `p_ago` and `p_ended_ago` are
-- seconds before the statement arrived, so that records contain only times from the database's
-- clock.
--
-- Errors that a worker has to obey:
--     SP001  the attempt was closed or superseded, so its success does not count
--     SP002  the day is already synced
--     SP003  the batch was cancelled; the detail says by whom
--     SP004  the worker is no longer registered, because it was presumed dead


-- Texts -------------------------------------------------------------------------------------------

-- Return the remarks of a day's record, exactly as in the specification. They never contain 批量同步,
-- the mark of a batch, not even in a quoted error.
CREATE OR REPLACE FUNCTION sync_day_remarks(
    p_day date, p_state text, p_error text DEFAULT NULL,
    p_rows_read bigint DEFAULT 0, p_rows_loaded bigint DEFAULT 0, p_rows_rejected bigint DEFAULT 0
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE p_state
        WHEN 'syncing' THEN '单日同步: ' || p_day
        WHEN 'success' THEN format('单日同步完成: %s, 读取%s行, 写入%s行, 拒绝%s行',
                                   p_day, p_rows_read, p_rows_loaded, p_rows_rejected)
        WHEN 'failed' THEN '单日同步失败: ' || replace(p_error, '批量同步', '批量 同步')
    END
$$;

-- Return the remarks of a batch that was just requested.
CREATE OR REPLACE FUNCTION sync_batch_remarks(p_start date, p_end date, p_days bigint)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('批量同步: %s 至 %s, 共%s天', p_start, p_end, p_days)
$$;

-- Return days as text: ranges of consecutive days, at most 20 of them.
CREATE OR REPLACE FUNCTION sync_day_ranges(p_days date[])
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(CASE WHEN first = last THEN first::text ELSE first || '..' || last END,
                      ', ' ORDER BY first) FILTER (WHERE number <= 20)
           || CASE WHEN count(*) > 20 THEN format(', and %s more ranges', count(*) - 20) ELSE '' END
    FROM (
        SELECT min(day) AS first, max(day) AS last, row_number() OVER (ORDER BY min(day)) AS number
        FROM (SELECT day, day - row_number() OVER (ORDER BY day)::integer AS island
              FROM (SELECT DISTINCT unnest(p_days) AS day) AS days) AS numbered
        GROUP BY island
    ) AS ranges
$$;

-- Return a batch's error message: the failed days, the first error, which of the days were not run,
-- and why (unless the first error already says so).
CREATE OR REPLACE FUNCTION sync_batch_error(
    p_failed date[], p_total bigint, p_first_error text, p_not_run date[], p_stop_reason text
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_not_run IS NULL THEN failed
                ELSE regexp_replace(failed, '\.$', '') || '. ' || CASE
                     WHEN cardinality(p_not_run) = cardinality(p_failed) THEN 'None was run'
                     ELSE 'Not run: ' || sync_day_ranges(p_not_run) END
           END
           || CASE WHEN p_stop_reason IS NULL OR position(p_stop_reason IN p_first_error) > 0
                   THEN '' ELSE ': ' || p_stop_reason END
    FROM (SELECT format('%s of %s days failed: %s. First: %s', cardinality(p_failed), p_total,
                        sync_day_ranges(p_failed), p_first_error)) AS text (failed)
$$;


-- Batches -----------------------------------------------------------------------------------------

-- Compute a batch's record from the current attempts for its days.
--
-- The record is locked first and the days are counted in a second statement, so that if two workers
-- finish at the same time, the second one sees the first one's day (READ COMMITTED). The lock is
-- only NO KEY UPDATE, so that the foreign-key check of a new attempt does not wait for it:
-- otherwise, two workers that each add an attempt and then compute the record would deadlock.
CREATE OR REPLACE FUNCTION sync_project_batch(p_batch_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    batch       daily_sync_status;
    result      daily_sync_status;
    days        record;
    failed      date[];
    not_run     date[];
    first_error text;
    stop_reason text;
    split       text;
BEGIN
    SELECT * INTO batch FROM daily_sync_status
    WHERE id = p_batch_id AND kind = 'batch' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT count(*) AS total,
           count(*) FILTER (WHERE state = 'success') AS success,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'skipped') AS skipped,
           coalesce(sum(rows_read) FILTER (WHERE state = 'success'), 0) AS rows_read,
           min(sync_date) AS first, max(sync_date) AS last, max(ended_at) AS ended_at
    INTO days FROM sync_attempt WHERE batch_id = p_batch_id AND NOT superseded;

    result := batch;
    result.total_days := days.total;
    result.success_count := days.success;
    result.failed_count := days.failed;
    result.skipped_count := days.skipped;
    result.total_records := days.rows_read;
    result.start_date := coalesce(days.first, batch.start_date);
    result.end_date := coalesce(days.last, batch.end_date);
    -- The middle of the range, rounded down, as in the specification's examples.
    result.sync_date := result.start_date + (result.end_date - result.start_date) / 2;
    result.error_message := NULL;
    IF days.failed > 0 THEN
        -- Errors are shown without the dataset's prefix, because the record names the dataset.
        SELECT array_agg(sync_date ORDER BY sync_date),
               (array_agg(sync_date || ': ' || error ORDER BY sync_date))[1],
               array_agg(sync_date ORDER BY sync_date) FILTER (WHERE was_not_run),
               substr((array_agg(error ORDER BY sync_date) FILTER (WHERE was_not_run))[1],
                      length('not run: ') + 1)
        INTO failed, first_error, not_run, stop_reason
        FROM (SELECT sync_date, replace(error_message, 'dataset ' || dataset || ': ', '') AS error,
                     error_message LIKE 'not run: %' AS was_not_run
              FROM sync_attempt
              WHERE batch_id = p_batch_id AND NOT superseded AND state = 'failed') AS of_batch;
        result.error_message := sync_batch_error(
            failed, days.total, first_error, not_run, stop_reason);
    END IF;
    split := format('成功%s, 失败%s, 跳过%s', days.success, days.failed, days.skipped);
    IF days.success + days.failed + days.skipped < days.total THEN
        result.status := 'syncing';
        result.end_time := NULL;
        result.duration_seconds := NULL;
        result.heartbeat_at := clock_timestamp();
        result.remarks := CASE
            WHEN days.success + days.failed + days.skipped = 0
            THEN sync_batch_remarks(result.start_date, result.end_date, days.total)
            ELSE format('批量同步进度: %s/%s天, %s', days.success + days.failed + days.skipped,
                        days.total, split) END;
    ELSE
        result.status := CASE WHEN days.failed > 0 THEN 'failed' ELSE 'success' END;
        result.end_time := coalesce(batch.end_time, days.ended_at, clock_timestamp());
        result.duration_seconds := greatest(
            0, floor(extract(epoch FROM result.end_time - batch.start_time)));
        result.remarks := CASE
            WHEN stop_reason IS NOT NULL THEN '批量同步失败: ' || stop_reason
            ELSE format('批量同步完成: %s至%s, 共%s天, %s, 耗时%s分%s秒', result.start_date,
                        result.end_date, days.total, split, result.duration_seconds / 60,
                        result.duration_seconds % 60) END;
    END IF;
    UPDATE daily_sync_status SET
        status = result.status, total_records = result.total_records,
        success_count = result.success_count, failed_count = result.failed_count,
        skipped_count = result.skipped_count, total_days = result.total_days,
        sync_date = result.sync_date, start_date = result.start_date, end_date = result.end_date,
        remarks = result.remarks, error_message = result.error_message,
        end_time = result.end_time, duration_seconds = result.duration_seconds,
        heartbeat_at = result.heartbeat_at
    WHERE id = p_batch_id
      -- Do not rewrite an unchanged record.
      AND (batch.status, batch.total_records, batch.success_count, batch.failed_count,
           batch.skipped_count, batch.total_days, batch.start_date, batch.end_date,
           batch.remarks, batch.error_message, batch.end_time, batch.duration_seconds)
          IS DISTINCT FROM
          (result.status, result.total_records, result.success_count, result.failed_count,
           result.skipped_count, result.total_days, result.start_date, result.end_date,
           result.remarks, result.error_message, result.end_time, result.duration_seconds);
END
$$;

-- Compute the records of several batches, by ID.
CREATE OR REPLACE FUNCTION sync_project_batches(p_batch_ids bigint[]) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
    batch bigint;
BEGIN
    FOR batch IN SELECT DISTINCT id FROM unnest(p_batch_ids) AS id WHERE id IS NOT NULL ORDER BY id
    LOOP
        PERFORM sync_project_batch(batch);
    END LOOP;
END
$$;

-- Open the record of a batch with all its days pending; return its ID, or that of the existing
-- record with this key. A new record's start time is `p_ago` seconds ago.
CREATE OR REPLACE FUNCTION sync_open_batch(
    p_batch_key text, p_dataset text, p_days date[], p_run_id text, p_triggered_by text,
    p_already_synced text, p_ago double precision DEFAULT 0
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    batch bigint;
BEGIN
    INSERT INTO daily_sync_status
        (sync_date, status, remarks, start_time, dataset, kind, batch_key, start_date, end_date,
         total_days, run_id, triggered_by, already_synced, heartbeat_at)
    SELECT min(day) + (max(day) - min(day)) / 2, 'syncing',
           sync_batch_remarks(min(day), max(day), count(DISTINCT day)),
           statement_timestamp() - make_interval(secs => p_ago), p_dataset, 'batch', p_batch_key,
           min(day), max(day), count(DISTINCT day), p_run_id, p_triggered_by, p_already_synced,
           clock_timestamp()
    FROM unnest(p_days) AS day
    ON CONFLICT (batch_key, dataset) DO NOTHING
    RETURNING id INTO batch;
    IF FOUND THEN
        PERFORM sync_plan_days(batch, p_days, p_run_id, p_triggered_by);
        RETURN batch;
    END IF;
    SELECT id INTO batch FROM daily_sync_status
    WHERE batch_key = p_batch_key AND dataset = p_dataset;
    UPDATE daily_sync_status SET run_id = p_run_id
    WHERE id = batch AND run_id IS NULL AND p_run_id IS NOT NULL;
    RETURN batch;
END
$$;

-- Add a pending attempt for each of these days that has no current one in the batch.
CREATE OR REPLACE FUNCTION sync_plan_days(
    p_batch_id bigint, p_days date[], p_run_id text, p_triggered_by text
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, run_id, triggered_by)
    SELECT dataset, day, id, 'pending', p_run_id, p_triggered_by
    FROM daily_sync_status, (SELECT DISTINCT unnest(p_days) AS day ORDER BY day) AS days
    WHERE id = p_batch_id
    ON CONFLICT (batch_id, sync_date) WHERE NOT superseded DO NOTHING
$$;

-- Reset to pending those of these days that failed before the batch was requested again; return
-- their number. If there are any, the record is `syncing` afterwards.
--
-- `p_days` NULL means all days, and `p_before` NULL means now. Days that failed later, or in one of
-- these runs, remain failed. If only some of the days are requested again, the other failed ones
-- count as skipped if another batch has synced them since this batch was first requested.
CREATE OR REPLACE FUNCTION sync_retry_days(
    p_batch_id bigint, p_run_id text, p_triggered_by text, p_days date[] DEFAULT NULL,
    p_before timestamptz DEFAULT NULL, p_except_runs text[] DEFAULT '{}'
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    failed date[];
BEGIN
    WITH reset AS (
        UPDATE sync_attempt SET superseded = true
        WHERE batch_id = p_batch_id AND NOT superseded AND state = 'failed'
          AND (p_days IS NULL OR sync_date = ANY(p_days))
          AND (p_before IS NULL OR ended_at < p_before)
          AND NOT coalesce(run_id = ANY(p_except_runs), false)
        RETURNING sync_date
    )
    SELECT array_agg(sync_date) INTO failed FROM reset;
    IF failed IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM sync_plan_days(p_batch_id, failed, p_run_id, p_triggered_by);
    PERFORM sync_skip_days(p_batch_id, ARRAY(
        SELECT attempt.sync_date FROM sync_attempt AS attempt
        JOIN daily_sync_status AS batch ON batch.id = attempt.batch_id
        JOIN daily_sync_status AS record ON record.kind = 'day'
             AND record.dataset = attempt.dataset AND record.sync_date = attempt.sync_date
        WHERE attempt.batch_id = p_batch_id AND NOT attempt.superseded
          AND attempt.state = 'failed' AND NOT attempt.sync_date = ANY(p_days)
          AND record.status = 'success' AND record.end_time >= batch.start_time), p_run_id);
    UPDATE daily_sync_status SET retried_at = clock_timestamp(), cancelled_by = NULL
    WHERE id = p_batch_id;
    RETURN cardinality(failed);
END
$$;


-- Days --------------------------------------------------------------------------------------------

-- Start an attempt for a day whose lock the caller holds; return its ID, its number and the ID of
-- the day's record.
--
-- Raises SP004 if the worker (`p_host_id` and `p_pid`, if given) is no longer registered; SP002 if
-- the day was synced by an attempt of the batch or, unless `p_resync`, by any attempt; SP003 if the
-- batch was cancelled. An earlier attempt that is still `syncing` has lost the lock and is closed
-- as failed; so is the caller's own previous attempt `p_after`, with its own error. In the batch's
-- counts, the new attempt replaces an earlier one for the same day. Its number is the next one in
-- the day's history, which can be ahead of the record: see `sync_record_outcome`.
CREATE OR REPLACE FUNCTION sync_begin_day(
    p_dataset text, p_day date, p_batch_id bigint, p_run_id text, p_triggered_by text,
    p_resync boolean, p_after bigint DEFAULT NULL, p_after_error text DEFAULT NULL,
    p_host_id text DEFAULT NULL, p_pid integer DEFAULT NULL,
    OUT attempt_id bigint, OUT number integer, OUT record_id bigint
) LANGUAGE plpgsql AS $$
DECLARE
    to_project bigint[];
    canceller  text;
    highest    integer;
BEGIN
    IF p_pid IS NOT NULL THEN
        PERFORM FROM sync_worker
        WHERE run_id = p_run_id AND host_id = p_host_id AND pid = p_pid FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the worker is not registered' USING ERRCODE = 'SP004';
        END IF;
    END IF;
    INSERT INTO daily_sync_status AS record
        (sync_date, status, remarks, start_time, dataset, kind, start_date, end_date, total_days,
         attempt, run_id, triggered_by, heartbeat_at)
    VALUES
        (p_day, 'syncing', sync_day_remarks(p_day, 'syncing'), clock_timestamp(), p_dataset, 'day',
         p_day, p_day, 1, 1, p_run_id, p_triggered_by, clock_timestamp())
    ON CONFLICT (dataset, sync_date) WHERE kind = 'day' DO UPDATE SET
        status = 'syncing', remarks = excluded.remarks, start_time = excluded.start_time,
        end_time = NULL, duration_seconds = NULL, error_message = NULL,
        total_records = 0, success_count = 0, failed_count = 0,
        attempt = record.attempt + 1, run_id = excluded.run_id,
        triggered_by = excluded.triggered_by, heartbeat_at = excluded.heartbeat_at
    -- The day may have been synced since the caller checked it.
    WHERE record.status <> 'success' OR p_resync AND NOT EXISTS (
        SELECT FROM sync_attempt
        WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded
          AND state IN ('success', 'skipped'))
    RETURNING record.id, record.attempt INTO record_id, number;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the day is already synced' USING ERRCODE = 'SP002';
    END IF;
    -- The record is locked now, so no other session gives an attempt of the day a number.
    SELECT max(attempt) INTO highest FROM sync_attempt
    WHERE dataset = p_dataset AND sync_date = p_day;
    IF highest >= number THEN
        number := highest + 1;
        UPDATE daily_sync_status SET attempt = number WHERE id = record_id;
    END IF;
    WITH lost AS (
        UPDATE sync_attempt SET
            state = 'failed', ended_at = clock_timestamp(),
            error_message = CASE WHEN id = p_after THEN p_after_error ELSE
                'superseded: attempt ' || number || ' started after this one lost the lock' END
        WHERE dataset = p_dataset AND sync_date = p_day AND state = 'syncing'
        RETURNING batch_id
    )
    SELECT array_agg(batch_id) INTO to_project FROM lost;
    UPDATE sync_attempt SET
        state = 'syncing', attempt = number, started_at = clock_timestamp(),
        run_id = p_run_id, triggered_by = coalesce(p_triggered_by, triggered_by)
    WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded AND state = 'pending'
    RETURNING id INTO attempt_id;
    IF NOT FOUND THEN
        SELECT cancelled_by INTO canceller FROM daily_sync_status WHERE id = p_batch_id;
        IF canceller IS NOT NULL THEN
            RAISE EXCEPTION 'the batch was cancelled' USING ERRCODE = 'SP003', DETAIL = canceller;
        END IF;
        UPDATE sync_attempt SET superseded = true
        WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded;
        INSERT INTO sync_attempt
            (dataset, sync_date, batch_id, attempt, state, run_id, triggered_by, started_at)
        VALUES
            (p_dataset, p_day, p_batch_id, number, 'syncing', p_run_id, p_triggered_by,
             clock_timestamp())
        RETURNING id INTO attempt_id;
        -- If the batch was already closed with this day as failed, it is reopened.
        to_project := to_project || p_batch_id;
    END IF;
    IF to_project IS NOT NULL THEN
        PERFORM sync_project_batches(to_project);
    END IF;
END
$$;

-- Record how a day ended, at any time: in the transaction that loads it, after its commit, or later
-- (from the outbox, or after an outage). Return `recorded`; `known` if the outcome had been
-- recorded before; or `waiting` if it has to wait because another run is syncing the day.
--
-- `p_state` is `success` or `failed`. `p_attempt_id` and `p_number` identify the attempt, if its
-- start was recorded. `p_seconds` is how long the day took; NULL means that it could not start, for
-- example because another worker has its lock. It ended `p_ended_ago` seconds ago.
--
-- With `p_fence`, raises SP001 if the attempt was closed or superseded: the caller then has to roll
-- back the day's rows. Without it, a success replaces the failure that its own run recorded for the
-- attempt, because the rows are committed; and if the attempt's start was not recorded, it is
-- recorded now, with the next number in the day's history. An outcome neither affects another run's
-- attempt nor overrides a later outcome of the day: the record then keeps that outcome and the
-- number of its attempt. With `p_project`, also computes the batch's record; a failure always does.
--
-- A success also sets `standing_rows`, and `warning`, which says what is unusual about these rows,
-- even if the record shows a later failure. A failure with `p_refused` did not try to change the
-- day's rows, so the record shows the success that loaded them.
DROP FUNCTION IF EXISTS sync_record_outcome(
    text, date, text, bigint, text, text, bigint, integer, double precision, bigint, bigint, bigint,
    bigint, text, double precision, boolean, boolean);
CREATE OR REPLACE FUNCTION sync_record_outcome(
    p_dataset text, p_day date, p_state text, p_batch_id bigint, p_run_id text,
    p_triggered_by text, p_attempt_id bigint DEFAULT NULL, p_number integer DEFAULT NULL,
    p_seconds double precision DEFAULT NULL, p_rows_read bigint DEFAULT 0,
    p_rows_loaded bigint DEFAULT 0, p_rows_rejected bigint DEFAULT 0, p_bytes bigint DEFAULT 0,
    p_error text DEFAULT NULL, p_ended_ago double precision DEFAULT 0,
    p_fence boolean DEFAULT false, p_project boolean DEFAULT true, p_refused boolean DEFAULT false,
    p_warning text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    ended      timestamptz := statement_timestamp() - make_interval(secs => p_ended_ago);
    started    timestamptz := ended - make_interval(secs => p_seconds);
    day_record daily_sync_status;
    own        sync_attempt;
    shown      sync_attempt;  -- the attempt that the record shows
    newest     boolean;       -- whether the outcome is the latest success
BEGIN
    IF p_seconds IS NULL THEN
        RETURN sync_refuse_day(
            p_dataset, p_day, p_batch_id, p_run_id, p_triggered_by, p_error, ended);
    END IF;
    -- Lock the day's record. The statements that follow see what was committed meanwhile.
    SELECT * INTO day_record FROM daily_sync_status
    WHERE dataset = p_dataset AND sync_date = p_day AND kind = 'day' FOR NO KEY UPDATE;
    IF NOT FOUND AND NOT p_fence THEN
        INSERT INTO daily_sync_status
            (sync_date, status, remarks, start_time, dataset, kind, start_date, end_date,
             total_days)
        VALUES
            (p_day, 'syncing', sync_day_remarks(p_day, 'syncing'), started, p_dataset, 'day',
             p_day, p_day, 1)
        ON CONFLICT (dataset, sync_date) WHERE kind = 'day' DO NOTHING;
        SELECT * INTO day_record FROM daily_sync_status
        WHERE dataset = p_dataset AND sync_date = p_day AND kind = 'day' FOR NO KEY UPDATE;
    END IF;

    -- After a crash of the server, another attempt may have the ID of one that was lost.
    SELECT * INTO own FROM sync_attempt
    WHERE id = p_attempt_id AND attempt = p_number AND dataset = p_dataset AND sync_date = p_day
      AND run_id IS NOT DISTINCT FROM p_run_id;
    IF p_fence AND (own.state IS DISTINCT FROM 'syncing' AND own.state IS DISTINCT FROM 'success'
                    OR day_record.attempt IS DISTINCT FROM p_number) THEN
        RAISE EXCEPTION 'the attempt was closed or superseded' USING ERRCODE = 'SP001';
    ELSIF NOT p_fence
          AND (own.state = 'success' OR own.state = 'failed' AND p_state = 'failed') THEN
        RETURN 'known';
    END IF;
    IF NOT p_fence AND own.state IS DISTINCT FROM 'syncing' THEN
        -- Look for the outcome in what the run itself has recorded for the day.
        SELECT * INTO own FROM sync_attempt
        WHERE dataset = p_dataset AND sync_date = p_day AND run_id = p_run_id
          AND batch_id IS NOT DISTINCT FROM p_batch_id AND attempt IS NOT NULL
          AND (state IN ('syncing', 'success') OR attempt = p_number OR p_state = 'failed')
        ORDER BY state = 'success' DESC, state = 'failed' AND p_state = 'failed' DESC, attempt DESC
        LIMIT 1;
        IF own.state = 'success' OR own.state = 'failed' AND p_state = 'failed' THEN
            RETURN 'known';
        END IF;
        IF own.id IS NULL AND EXISTS (
            SELECT FROM sync_attempt
            WHERE dataset = p_dataset AND sync_date = p_day AND state = 'syncing') THEN
            -- A new attempt would have a higher number than the running one and so supersede it.
            RETURN 'waiting';
        END IF;
        -- In the batch, the outcome replaces an earlier failure of the day.
        UPDATE sync_attempt SET superseded = true
        WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded AND state = 'failed'
          AND id IS DISTINCT FROM own.id AND (p_state = 'success' OR ended_at <= ended);
        IF own.id IS NULL THEN
            -- Not before the end of the previous attempt: times that are computed later may be
            -- slightly too late, depending on how long the statement took to arrive.
            started := greatest(started, (
                SELECT max(ended_at) FROM sync_attempt
                WHERE dataset = p_dataset AND sync_date = p_day AND started_at <= started));
            own := sync_begin_late(day_record.id, p_batch_id, p_run_id, p_triggered_by, started);
        ELSIF p_state = 'success' THEN
            UPDATE sync_attempt SET
                state = 'skipped', ended_at = clock_timestamp(), run_id = p_run_id
            WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded
              AND state = 'pending';
        END IF;
    END IF;

    UPDATE sync_attempt SET
        state = p_state, error_message = p_error, rows_read = p_rows_read,
        rows_loaded = p_rows_loaded, rows_rejected = p_rows_rejected, bytes = p_bytes,
        refused = p_refused,
        -- Not later than the start of the next attempt.
        ended_at = CASE WHEN state = 'success' THEN ended_at
                        ELSE greatest(own.started_at, least(ended, (
            SELECT min(started_at) FROM sync_attempt AS later
            WHERE dataset = p_dataset AND sync_date = p_day
              AND later.started_at > own.started_at))) END,
        superseded = superseded AND EXISTS (
            SELECT FROM sync_attempt AS other
            WHERE other.batch_id = own.batch_id AND other.sync_date = p_day
              AND NOT other.superseded AND other.id <> own.id)
    WHERE id = own.id
    RETURNING * INTO own;
    shown := own;
    IF p_refused AND day_record.standing_since IS NOT NULL THEN
        SELECT * INTO shown FROM sync_attempt
        WHERE dataset = p_dataset AND sync_date = p_day AND state = 'success'
        ORDER BY ended_at DESC LIMIT 1;
        IF NOT FOUND THEN  -- it may have been deleted with the record of its batch
            shown := own;
            shown.state := 'success';
            shown.error_message := NULL;
            shown.rows_read := day_record.standing_rows;
            shown.rows_loaded := day_record.standing_rows;
            shown.started_at := day_record.standing_since;
            shown.ended_at := day_record.standing_since;
        END IF;
    END IF;
    newest := p_state = 'success'
              AND (day_record.standing_since IS NULL OR day_record.standing_since <= own.ended_at);
    UPDATE daily_sync_status SET
        attempt = shown.attempt, status = shown.state, total_records = shown.rows_read,
        success_count = shown.rows_loaded, failed_count = shown.rows_rejected,
        remarks = sync_day_remarks(p_day, shown.state, shown.error_message, shown.rows_read,
                                   shown.rows_loaded, shown.rows_rejected),
        error_message = shown.error_message, start_time = shown.started_at,
        end_time = shown.ended_at, duration_seconds = NULL, run_id = shown.run_id,
        triggered_by = shown.triggered_by, heartbeat_at = own.ended_at,
        warning = CASE WHEN newest THEN p_warning ELSE warning END,
        standing_rows = CASE WHEN newest THEN own.rows_loaded ELSE standing_rows END,
        standing_since = CASE WHEN newest THEN own.ended_at ELSE standing_since END
    WHERE id = day_record.id AND (day_record.attempt <= own.attempt AND (
        day_record.attempt = own.attempt OR day_record.end_time IS NULL
        OR day_record.end_time <= own.ended_at
        -- A success always replaces its own run's failure: each end time is computed when it is
        -- written, so the failure's can be slightly later than that of the success.
        OR day_record.run_id = p_run_id AND p_state = 'success')
        OR p_state = 'success' AND EXISTS (
            SELECT FROM sync_attempt
            WHERE dataset = p_dataset AND sync_date = p_day AND attempt = day_record.attempt
              AND refused));
    IF NOT FOUND AND newest THEN
        UPDATE daily_sync_status SET
            standing_rows = own.rows_loaded, standing_since = own.ended_at, warning = p_warning
        WHERE id = day_record.id;
    END IF;
    IF p_batch_id IS NOT NULL AND (p_project OR p_state = 'failed') THEN
        PERFORM sync_project_batch(p_batch_id);
    END IF;
    RETURN 'recorded';
END
$$;

-- Start an attempt whose outcome is known already: the batch's pending one for the day, or a new
-- one, which is superseded if the batch has another current attempt for the day.
CREATE OR REPLACE FUNCTION sync_begin_late(
    p_record_id bigint, p_batch_id bigint, p_run_id text, p_triggered_by text,
    p_started_at timestamptz
) RETURNS sync_attempt LANGUAGE plpgsql AS $$
DECLARE
    day_record daily_sync_status;
    begun      sync_attempt;
    number     integer;
BEGIN
    SELECT * INTO day_record FROM daily_sync_status WHERE id = p_record_id;
    SELECT greatest(day_record.attempt, max(attempt)) + 1 INTO number FROM sync_attempt
    WHERE dataset = day_record.dataset AND sync_date = day_record.sync_date;
    UPDATE sync_attempt SET
        state = 'syncing', attempt = number, started_at = p_started_at,
        run_id = p_run_id, triggered_by = coalesce(p_triggered_by, triggered_by)
    WHERE batch_id = p_batch_id AND sync_date = day_record.sync_date AND NOT superseded
      AND state = 'pending'
    RETURNING * INTO begun;
    IF NOT FOUND THEN
        INSERT INTO sync_attempt
            (dataset, sync_date, batch_id, attempt, state, run_id, triggered_by, started_at,
             superseded)
        VALUES
            (day_record.dataset, day_record.sync_date, p_batch_id, number, 'syncing', p_run_id,
             p_triggered_by, p_started_at,
             EXISTS (SELECT FROM sync_attempt
                     WHERE batch_id = p_batch_id AND sync_date = day_record.sync_date
                       AND NOT superseded))
        RETURNING * INTO begun;
    END IF;
    RETURN begun;
END
$$;

-- Record that a day failed at `p_ended` before an attempt could start, for example because it was
-- locked.
--
-- Idempotent within a run. Does not change the day's record, which belongs to the worker that holds
-- the lock. In the batch, replaces only a pending attempt or an earlier failure: if the day is
-- being synced, has been synced or has failed since, that attempt remains the current one.
CREATE OR REPLACE FUNCTION sync_refuse_day(
    p_dataset text, p_day date, p_batch_id bigint, p_run_id text, p_triggered_by text,
    p_error text, p_ended timestamptz
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    -- One session at a time, so that two of them do not record the same refusal.
    PERFORM pg_advisory_xact_lock(
        hashtextextended('sync_pipeline: refused ' || p_dataset || ' ' || p_day, 0));
    PERFORM FROM sync_attempt
    WHERE dataset = p_dataset AND sync_date = p_day AND state = 'failed' AND attempt IS NULL
      AND batch_id IS NOT DISTINCT FROM p_batch_id AND run_id = p_run_id
      AND error_message = p_error;
    IF FOUND THEN
        RETURN 'known';
    END IF;
    UPDATE sync_attempt SET
        state = 'failed', ended_at = p_ended, run_id = p_run_id, error_message = p_error
    WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded AND state = 'pending';
    IF NOT FOUND THEN
        UPDATE sync_attempt SET superseded = true
        WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded
          AND state = 'failed' AND ended_at <= p_ended;
        INSERT INTO sync_attempt
            (dataset, sync_date, batch_id, state, run_id, triggered_by, error_message, ended_at,
             superseded)
        VALUES
            (p_dataset, p_day, p_batch_id, 'failed', p_run_id, p_triggered_by, p_error, p_ended,
             EXISTS (SELECT FROM sync_attempt
                     WHERE batch_id = p_batch_id AND sync_date = p_day AND NOT superseded));
    END IF;
    PERFORM sync_project_batch(p_batch_id);
    RETURN 'recorded';
END
$$;

-- Mark synced days of a batch as skipped: pending days, and days that failed in this batch but have
-- been synced elsewhere since.
CREATE OR REPLACE FUNCTION sync_skip_days(p_batch_id bigint, p_days date[], p_run_id text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    failed date[];
BEGIN
    UPDATE sync_attempt SET state = 'skipped', ended_at = clock_timestamp(), run_id = p_run_id
    WHERE batch_id = p_batch_id AND sync_date = ANY(p_days) AND NOT superseded
      AND state = 'pending';
    WITH replaced AS (
        UPDATE sync_attempt SET superseded = true
        WHERE batch_id = p_batch_id AND sync_date = ANY(p_days) AND NOT superseded
          AND state = 'failed'
        RETURNING sync_date
    )
    SELECT array_agg(sync_date) INTO failed FROM replaced;
    INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, run_id, triggered_by, ended_at)
    SELECT dataset, day, id, 'skipped', p_run_id, triggered_by, clock_timestamp()
    FROM daily_sync_status, unnest(failed) AS day WHERE id = p_batch_id;
    PERFORM sync_project_batch(p_batch_id);
END
$$;

-- Close attempts as failed, and the records of days that had started; return how many were closed.
--
-- The error of a day that had not started says that it was not run. Attempts that are no longer
-- running (`p_running`) or pending (`p_pending`) are left alone: a day that was started meanwhile
-- belongs to its worker.
CREATE OR REPLACE FUNCTION sync_close_attempts(
    p_running bigint[], p_pending bigint[], p_error text, p_ago double precision DEFAULT 0
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    ended    timestamptz := statement_timestamp() - make_interval(secs => p_ago);
    affected bigint[];
    closed   integer;
BEGIN
    -- Lock the days' records before the attempts, always in the same order.
    PERFORM FROM daily_sync_status record
    JOIN sync_attempt a ON a.dataset = record.dataset AND a.sync_date = record.sync_date
    WHERE a.id = ANY(p_running) AND record.kind = 'day'
    ORDER BY record.dataset, record.sync_date FOR NO KEY UPDATE OF record;
    UPDATE daily_sync_status record SET
        status = 'failed', remarks = sync_day_remarks(record.sync_date, 'failed', p_error),
        error_message = p_error, end_time = greatest(record.start_time, ended)
    FROM sync_attempt a
    WHERE a.id = ANY(p_running) AND a.state = 'syncing'
      AND record.kind = 'day' AND record.dataset = a.dataset AND record.sync_date = a.sync_date
      AND record.attempt = a.attempt AND record.status = 'syncing';
    WITH done AS (
        UPDATE sync_attempt SET
            error_message = CASE WHEN state = 'pending' THEN 'not run: ' ELSE '' END || p_error,
            state = 'failed', ended_at = greatest(started_at, ended)
        WHERE id = ANY(p_running) AND state = 'syncing'
           OR id = ANY(p_pending) AND state = 'pending'
        RETURNING batch_id
    )
    SELECT count(*), array_agg(batch_id) INTO closed, affected FROM done;
    PERFORM sync_project_batches(affected);
    RETURN closed;
END
$$;

-- Mark a batch's unfinished days as not run, and compute its record; return the number of these
-- days. This is how a batch is closed before all of its days have been synced.
--
-- Applies to `p_days`, or to all days. With `p_run_id`, excludes days that another run has started.
-- With `p_planned_by`, includes only days that this run has planned or started. With
-- `p_planned_before`, excludes pending days that were planned after that time, when the batch was
-- retried.
CREATE OR REPLACE FUNCTION sync_mark_not_run(
    p_batch_id bigint, p_error text, p_days date[] DEFAULT NULL, p_run_id text DEFAULT NULL,
    p_planned_by text DEFAULT NULL, p_planned_before timestamptz DEFAULT NULL,
    p_ago double precision DEFAULT 0
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    running bigint[];
    pending bigint[];
    closed  integer;
BEGIN
    SELECT array_agg(id) FILTER (WHERE state = 'syncing'),
           array_agg(id) FILTER (WHERE state = 'pending')
    INTO running, pending FROM sync_attempt
    WHERE batch_id = p_batch_id AND state IN ('pending', 'syncing')
      AND (p_days IS NULL OR sync_date = ANY(p_days))
      AND (p_run_id IS NULL OR state = 'pending' OR run_id = p_run_id)
      AND (p_planned_by IS NULL OR run_id = p_planned_by)
      AND (p_planned_before IS NULL OR state <> 'pending' OR created_at <= p_planned_before);
    closed := sync_close_attempts(running, pending, p_error, p_ago);
    PERFORM sync_project_batch(p_batch_id);
    RETURN closed;
END
$$;

-- Close the running attempts of a run that has ended; return their number. Days that the run did
-- not start stay pending: they may belong to another run.
CREATE OR REPLACE FUNCTION sync_fail_run(p_run_id text, p_error text)
RETURNS integer LANGUAGE sql AS $$
    SELECT sync_close_attempts(
        ARRAY(SELECT id FROM sync_attempt WHERE run_id = p_run_id AND state = 'syncing'), NULL,
        p_error)
$$;

-- Say in the errors of a run's days that were interrupted (`p_error`) who or what interrupted them:
-- the user who cancelled their batch over the API, or `p_reason`. Idempotent.
CREATE OR REPLACE FUNCTION sync_explain_interrupted(p_run_id text, p_error text, p_reason text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    affected bigint[];
BEGIN
    -- Lock the days' records before the attempts, always in the same order.
    PERFORM FROM daily_sync_status record
    JOIN sync_attempt a ON a.dataset = record.dataset AND a.sync_date = record.sync_date
    WHERE a.run_id = p_run_id AND a.state = 'failed' AND a.error_message = p_error
      AND record.kind = 'day'
    ORDER BY record.dataset, record.sync_date FOR NO KEY UPDATE OF record;
    WITH explained AS (
        UPDATE sync_attempt a SET error_message = coalesce(
            (SELECT 'cancelled by ' || cancelled_by || ' over the API'
             FROM daily_sync_status WHERE id = a.batch_id), p_reason
        ) || '; the day was running and was rolled back'
        WHERE run_id = p_run_id AND state = 'failed' AND error_message = p_error
        RETURNING *
    ), records AS (
        UPDATE daily_sync_status record SET
            error_message = explained.error_message,
            remarks = sync_day_remarks(record.sync_date, 'failed', explained.error_message)
        FROM explained
        WHERE record.kind = 'day' AND record.dataset = explained.dataset
          AND record.sync_date = explained.sync_date AND record.attempt = explained.attempt
          AND record.status = 'failed'
    )
    SELECT array_agg(batch_id) INTO affected FROM explained;
    PERFORM sync_project_batches(affected);
END
$$;

-- Record that a day's quarantined rows were loaded, except `p_kept` of them. Does nothing if the
-- target's rows are no longer those of attempt `p_number`.
CREATE OR REPLACE FUNCTION sync_record_replay(p_record_id bigint, p_number integer, p_kept bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day_record daily_sync_status;
    replayed   sync_attempt;
BEGIN
    SELECT * INTO day_record FROM daily_sync_status
    WHERE id = p_record_id AND kind = 'day' AND standing_since IS NOT NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE sync_attempt SET rows_loaded = rows_read - p_kept, rows_rejected = p_kept
    WHERE dataset = day_record.dataset AND sync_date = day_record.sync_date
      AND attempt = p_number AND state = 'success' AND ended_at >= day_record.standing_since
    RETURNING * INTO replayed;
    IF NOT FOUND THEN  -- the attempt may have been deleted with the record of its batch
        IF day_record.attempt <> p_number OR day_record.status <> 'success' OR EXISTS (
            SELECT FROM sync_attempt
            WHERE dataset = day_record.dataset AND sync_date = day_record.sync_date
              AND state = 'success') THEN
            RETURN;
        END IF;
        replayed.rows_read := day_record.total_records;
        replayed.rows_loaded := day_record.total_records - p_kept;
    END IF;
    UPDATE daily_sync_status SET standing_rows = replayed.rows_loaded WHERE id = p_record_id;
    IF day_record.attempt = p_number AND day_record.status = 'success' THEN
        UPDATE daily_sync_status SET
            success_count = replayed.rows_loaded, failed_count = p_kept,
            remarks = sync_day_remarks(day_record.sync_date, 'success', NULL, replayed.rows_read,
                                       replayed.rows_loaded, p_kept)
        WHERE id = p_record_id;
    END IF;
END
$$;

-- Record that a dataset's rows that were loaded more than `p_ago` seconds ago are lost; return how
-- many days this concerns, the first one and the last one. Days that count as synced become failed.
-- Does not change the days' attempts or batches, which are history, nor days that the pipeline did
-- not sync.
CREATE OR REPLACE FUNCTION sync_invalidate_days(
    p_dataset text, p_error text, p_ago double precision,
    OUT days bigint, OUT first_day date, OUT last_day date
) LANGUAGE sql AS $$
    WITH lost AS (
        UPDATE daily_sync_status SET standing_rows = NULL, standing_since = NULL, warning = NULL
        WHERE dataset = p_dataset AND kind = 'day' AND status <> 'success' AND attempt > 0
          AND standing_since < statement_timestamp() - make_interval(secs => p_ago)
        RETURNING sync_date
    ), invalidated AS (
        UPDATE daily_sync_status SET
            status = 'failed', total_records = 0, success_count = 0, failed_count = 0,
            remarks = sync_day_remarks(sync_date, 'failed', p_error), error_message = p_error,
            standing_rows = NULL, standing_since = NULL, warning = NULL
        WHERE dataset = p_dataset AND kind = 'day' AND status = 'success' AND attempt > 0
          AND end_time < statement_timestamp() - make_interval(secs => p_ago)
        RETURNING sync_date
    )
    SELECT count(*), min(sync_date), max(sync_date)
    FROM (SELECT sync_date FROM lost UNION ALL SELECT sync_date FROM invalidated) AS days
$$;


-- Records kept by other programs --------------------------------------------------------------------

-- Fill in the typed columns for programs that know only the specification's columns (its own INSERT
-- and UPDATE among them): the times, and for a record that the pipeline does not manage also its
-- days and, for a day, the rows that it has. A batch in which a day failed, or whose counts do not
-- add up, does not become a success.
CREATE OR REPLACE FUNCTION daily_sync_status_fill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found   text[];
    problem text;
BEGIN
    NEW.updated_at := clock_timestamp();
    IF NEW.status NOT IN ('syncing', 'success', 'failed') THEN
        RAISE EXCEPTION 'unknown status %', quote_literal(NEW.status) USING
            ERRCODE = 'check_violation', CONSTRAINT = 'daily_sync_status_status_known',
            HINT = 'use syncing, success or failed';
    END IF;
    IF NEW.status = 'syncing' THEN
        NEW.end_time := NULL;
        NEW.duration_seconds := NULL;
    ELSIF NEW.status IN ('success', 'failed') THEN
        NEW.end_time := coalesce(NEW.end_time, clock_timestamp());
        NEW.duration_seconds := coalesce(
            NEW.duration_seconds,
            greatest(0, floor(extract(epoch FROM NEW.end_time - NEW.start_time)))::integer);
    END IF;
    IF TG_OP = 'INSERT' AND NEW.kind IS NULL THEN
        NEW.kind := CASE WHEN NEW.remarks LIKE '%批量同步%' THEN 'batch' ELSE 'day' END;
    END IF;
    IF NEW.kind = 'day' AND NEW.attempt = 0 AND NEW.status = 'success' THEN
        NEW.standing_rows := NEW.success_count;
        NEW.standing_since := NEW.end_time;
    END IF;
    IF NEW.kind = 'batch' AND NEW.batch_key IS NULL THEN
        found := regexp_match(NEW.remarks,
            '(\d{4}-\d\d-\d\d) ?至 ?(\d{4}-\d\d-\d\d), 共(\d+)天');
        IF found IS NOT NULL THEN
            NEW.start_date := found[1]::date;
            NEW.end_date := found[2]::date;
            NEW.total_days := found[3]::integer;
        END IF;
        found := regexp_match(NEW.remarks, '\d+/(\d+)天');
        IF found IS NOT NULL THEN
            NEW.total_days := found[1]::integer;
        END IF;
        found := regexp_match(NEW.remarks, '跳过(\d+)');
        IF found IS NOT NULL THEN
            NEW.skipped_count := found[1]::integer;
        END IF;
        IF NEW.status = 'success' AND NEW.failed_count > 0 THEN
            problem := format('%s days failed', NEW.failed_count);
        ELSIF NEW.status = 'success'
              AND NEW.remarks ~ '共\d+天, 成功\d+, 失败\d+, 跳过\d+'
              AND NEW.success_count + NEW.skipped_count <> NEW.total_days THEN
            problem := format('the counts do not add up: %s of %s days',
                              NEW.success_count + NEW.skipped_count, NEW.total_days);
        END IF;
        IF problem IS NOT NULL THEN
            NEW.status := 'failed';
            NEW.error_message := coalesce(NEW.error_message, problem);
        END IF;
    END IF;
    NEW.start_date := coalesce(NEW.start_date, NEW.sync_date);
    NEW.end_date := coalesce(NEW.end_date, NEW.sync_date);
    NEW.total_days := coalesce(NEW.total_days, NEW.end_date - NEW.start_date + 1);
    RETURN NEW;
END
$$;


-- What the API does -------------------------------------------------------------------------------
--
-- These run with their owner's privileges, so that the API's role needs no privilege to change
-- records: see deploy/api_role.sql.

-- Open the record of a batch with all its days pending; return its ID, or NULL if its key exists.
CREATE OR REPLACE FUNCTION sync_request_batch(
    p_batch_key text, p_dataset text, p_days date[], p_triggered_by text, p_already_synced text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF coalesce(p_batch_key, '') NOT LIKE 'api-%' OR coalesce(cardinality(p_days), 0) = 0 THEN
        RAISE EXCEPTION 'the batch key must begin with api- and at least one day is required';
    END IF;
    PERFORM FROM daily_sync_status WHERE batch_key = p_batch_key AND dataset = p_dataset;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN sync_open_batch(p_batch_key, p_dataset, p_days, NULL, p_triggered_by, p_already_synced);
END
$$;

-- Reset the failed days of a failed batch to pending; return their number.
CREATE OR REPLACE FUNCTION sync_retry_batch(p_batch_id bigint, p_triggered_by text)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    days integer := 0;
BEGIN
    PERFORM FROM daily_sync_status
    WHERE id = p_batch_id AND kind = 'batch' AND status = 'failed' AND batch_key IS NOT NULL;
    IF FOUND THEN
        days := sync_retry_days(p_batch_id, NULL, p_triggered_by);
    END IF;
    IF days = 0 THEN
        RAISE EXCEPTION 'record % is not a batch with failed days', p_batch_id
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN days;
END
$$;

-- Mark the pending days of a running batch as not run, with this error; return their number. Days
-- that have started are left to their workers.
CREATE OR REPLACE FUNCTION sync_cancel_pending(
    p_batch_id bigint, p_error text, p_cancelled_by text
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    cancelled integer;
BEGIN
    UPDATE sync_attempt SET
        state = 'failed', ended_at = clock_timestamp(), error_message = 'not run: ' || p_error
    WHERE batch_id = p_batch_id AND state = 'pending' AND NOT superseded;
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    UPDATE daily_sync_status SET cancelled_by = coalesce(p_cancelled_by, cancelled_by)
    WHERE id = p_batch_id AND kind = 'batch' AND status = 'syncing' AND batch_key IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'record % is not a running batch', p_batch_id
            USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM sync_project_batch(p_batch_id);
    RETURN cancelled;
END
$$;

REVOKE ALL ON FUNCTION sync_request_batch(text, text, date[], text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_retry_batch(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_cancel_pending(bigint, text, text) FROM PUBLIC;
