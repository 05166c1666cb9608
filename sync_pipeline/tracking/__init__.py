"""The records of days and batches: everything that writes `daily_sync_status` or `sync_attempt`.

`state/` has the state changes, as functions in the caller's transaction; `worker/` records what a
worker does and survives an outage of the tables; `read/` has the queries; `service.py` has the
specification's two methods. Does not read or write a dataset's rows: see `sync/` and `targets/`.
"""
