"""Dagster's storage as a run uses it: open connections, and many events at once.

Dagster opens a connection for every statement it stores, which costs more than many a day's rows.
Its web server has a pool for that, and a run may have it too.
"""

import os
from weakref import WeakSet

import dagster as dg
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

EVENTS_AT_ONCE = 50
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_POOLED: "WeakSet[object]" = WeakSet()


def keep_connections_open(instance: dg.DagsterInstance) -> None:
    """Let this process's Dagster storage keep its connections, and store events in batches."""
    os.environ.setdefault(_BATCH_SIZE, str(EVENTS_AT_ONCE))
    for storage in (instance.event_log_storage, instance.run_storage):
        pooled = isinstance(storage, (PostgresEventLogStorage, PostgresRunStorage))
        if pooled and storage not in _POOLED:
            storage.optimize_for_webserver(
                statement_timeout=600_000, pool_recycle=3600, max_overflow=20
            )
            # A connection that broke while it lay idle is replaced, not handed out.
            vars(storage)["_engine"].pool._pre_ping = True
            _POOLED.add(storage)
