"""Opens Dagster's storage, and speeds it up: pooled connections, and events in batches.

By default a run and the daemon open a connection for every query. In a run, that can take longer
than syncing a small day; in the daemon of an idle instance, it is much of the work. The connection
pool that Dagster's webserver uses also works in these processes.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from weakref import WeakSet

import dagster as dg
from dagster_postgres import (
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)

from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.settings import Settings

MAX_EVENTS_PER_BATCH = 50
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_EXISTS = "SELECT to_regclass('jobs') IS NOT NULL"  # the last table that Dagster creates
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline: dagster storage', 0))"
_POSTGRES = (PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage)
_POOLED: "WeakSet[object]" = WeakSet()


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Yield the Dagster instance; its folder and storage come from the environment.

    Dagster creates missing tables when it opens its storage, and fails if two processes do that at
    once, so processes wait for each other until the tables exist. Raises StackError if the storage
    cannot be reached.
    """
    with closing(connect_to_storage(settings, "open storage")) as connection:
        with connection.cursor() as cursor:
            cursor.execute(_EXISTS)
            if cursor.fetchone() != (True,):
                cursor.execute(_LOCK)
        instance = dg.DagsterInstance.get()
    with instance:
        yield instance


def speed_up_run(instance: dg.DagsterInstance) -> None:
    """Pool the run's connections to Dagster's storage, and store its events in batches."""
    os.environ.setdefault(_BATCH_SIZE, str(MAX_EVENTS_PER_BATCH))
    pool_connections(instance)


def pool_connections(instance: dg.DagsterInstance) -> None:
    """Keep this process's connections to Dagster's storage open between queries."""
    for storage in (instance.event_log_storage, instance.run_storage, instance.schedule_storage):
        if isinstance(storage, _POSTGRES) and storage not in _POOLED:
            storage.optimize_for_webserver(
                statement_timeout=600_000, pool_recycle=3600, max_overflow=20
            )
            # Replace a connection that was lost while it was idle.
            vars(storage)["_engine"].pool._pre_ping = True
            _POOLED.add(storage)
