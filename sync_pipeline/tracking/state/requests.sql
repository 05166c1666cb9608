-- open_batch: open the record of a batch with its days pending; NULL if its key already exists
SELECT sync_request_batch(%(batch_key)s, %(dataset)s, %(days)s::date[], %(triggered_by)s,
                          %(already_synced)s)

-- retry_batch: reset the failed days of a batch to pending
SELECT sync_retry_batch(%(batch_id)s, %(triggered_by)s)

-- cancel_pending: mark the pending days of a running batch as not run, with this reason
SELECT sync_cancel_pending(%(batch_id)s, %(error)s, %(cancelled_by)s)

-- lock_batch_key: lock the key until the session ends or unlocks it
SELECT pg_advisory_lock(hashtextextended('sync_pipeline: request ' || %(key)s, 0))

-- unlock_batch_key: unlock the key
SELECT pg_advisory_unlock(hashtextextended('sync_pipeline: request ' || %(key)s, 0))

-- find_batch: the record with this batch key, in any dataset
SELECT id FROM daily_sync_status WHERE batch_key = %(batch_key)s ORDER BY id LIMIT 1
