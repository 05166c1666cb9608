"""Opens Dagster's storage, and speeds it up: pooled connections, and events in batches.

By default a run and the daemon open a connection for every query. In a run, that can take longer
than syncing a small day; in the daemon of an idle instance, it is much of the work. The connection
pool that Dagster's webserver uses also works in these processes.

Before the daemon queues a run of an asset, it stores one planned event per partition. Dagster
stores each of them in two transactions, even in a batch; for thousands of days, that takes minutes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from weakref import WeakSet

import dagster as dg
from dagster_postgres import (
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)

from sync_pipeline.dagster_client.storage import connect_to_storage
from sync_pipeline.orchestration.dagster.internals import (
    SqlEventLogStorageTable,
    plan_unpartitioned_checks_once,
    set_queue_interval,
)
from sync_pipeline.settings import Settings

MAX_EVENTS_PER_BATCH = 200
_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_QUEUE_INTERVAL_SECONDS = 0.5
_EXISTS = "SELECT to_regclass('jobs') IS NOT NULL"  # the last table that Dagster creates
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline: dagster storage', 0))"
_POSTGRES = (PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage)
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
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


def speed_up_daemon(instance: dg.DagsterInstance) -> None:
    """Pool the daemon's connections to Dagster's storage, store planned events in batches, and
    check the run queue twice per second."""
    plan_unpartitioned_checks_once()
    os.environ.setdefault(_BATCH_SIZE, str(MAX_EVENTS_PER_BATCH))
    pool_connections(instance)
    set_queue_interval(instance, _QUEUE_INTERVAL_SECONDS)
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEventLogStorage):
        # If this fails, Dagster stores the events one by one.
        vars(storage)["store_event_batch"] = partial(_store_event_batch, storage)


def _store_event_batch(
    storage: PostgresEventLogStorage, events: Sequence[dg.EventLogEntry]
) -> None:
    """Store events that belong to one batch; the planned materializations among them at once."""
    planned = [one for one in events if one.dagster_event_type is _PLANNED]
    others = [one for one in events if one.dagster_event_type is not _PLANNED]
    if planned:
        statement = storage.prepare_insert_event_batch(planned)
        with storage.run_connection() as connection:
            ids = list(connection.execute(statement.returning(SqlEventLogStorageTable.c.id)))
        latest = {
            event.get_dagster_event().asset_key: (event, id_)
            for event, (id_,) in zip(planned, ids, strict=True)
        }
        for event, id_ in latest.values():
            storage.store_asset_event(event, id_)
    if others:
        PostgresEventLogStorage.store_event_batch(storage, others)


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
