-- open_batch: open the record of a batch, its days pending; NULL if its key is already there
SELECT sync_open_batch(%(batch_key)s, %(dataset)s, %(days)s::date[], %(triggered_by)s,
                       %(already_synced)s, %(sync_date)s, %(remarks)s)

-- take_up_again: the days of a batch that failed wait again
SELECT sync_retry_batch(%(batch_id)s, %(triggered_by)s)

-- withdraw_days: the days of a batch at work that nobody has begun fail with this error
SELECT sync_cancel_pending(%(batch_id)s, %(error)s, %(cancelled_by)s)

-- project_batch: write what the days say into the record of a batch at work
SELECT sync_project_batch(%(id)s, %(remarks)s, %(error_message)s)

-- lock_request: one at a time for each key, until the session ends or unlocks it
SELECT pg_advisory_lock(hashtextextended('sync_pipeline: request ' || %(key)s, 0))

-- unlock_request: the next one's turn
SELECT pg_advisory_unlock(hashtextextended('sync_pipeline: request ' || %(key)s, 0))

-- find_request: the record that a request opened before, in whatever dataset
SELECT id FROM daily_sync_status WHERE batch_key = %(batch_key)s ORDER BY id LIMIT 1
