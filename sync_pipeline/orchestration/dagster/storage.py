"""Faster access to Dagster's storage during a run: pooled connections, and events in batches.

By default Dagster opens a connection for every event, which can take longer than syncing a small
day. The connection pool that Dagster's webserver uses also works during a run.
"""

import os
from weakref import WeakSet

import dagster as dg
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

MAX_EVENTS_PER_BATCH = 50
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_POOLED: "WeakSet[object]" = WeakSet()


def keep_connections_open(instance: dg.DagsterInstance) -> None:
    """Pool this process's connections to Dagster's storage, and store its events in batches."""
    os.environ.setdefault(_BATCH_SIZE, str(MAX_EVENTS_PER_BATCH))
    for storage in (instance.event_log_storage, instance.run_storage):
        pooled = isinstance(storage, (PostgresEventLogStorage, PostgresRunStorage))
        if pooled and storage not in _POOLED:
            storage.optimize_for_webserver(
                statement_timeout=600_000, pool_recycle=3600, max_overflow=20
            )
            # Replace a connection that was lost while it was idle.
            vars(storage)["_engine"].pool._pre_ping = True
            _POOLED.add(storage)
