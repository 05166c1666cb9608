"""The records of days and batches: everything that writes `daily_sync_status` or `sync_attempt`.

`state/` contains the state changes, as functions that run in the caller's transaction; `worker/`
records what a worker does, even if the tables are temporarily unavailable; `read/` contains the
queries; `service.py` contains the specification's two methods. Does not read or write a dataset's
rows: see `sync/` and `targets/`.
"""
