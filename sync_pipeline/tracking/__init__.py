"""The only writer of `daily_sync_status` and `sync_attempt`.

`attempts` and `batches` hold the state changes, as functions over a cursor whose transaction the
caller owns; `remarks` the contract's sentences; `reports` what is read; `service` the
specification's two methods; `tracker` a worker's own hold on all of it, which never stops a sync.
"""
