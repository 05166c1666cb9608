"""Clean up what a dead worker leaves in the target: outcomes in the outbox, and open sessions.

If the target is unavailable, nothing is lost: the next run of the reconciler retries. Does not
define the outbox: see `tracking/worker/outbox.py`.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetUnreachableError, one_line
from sync_pipeline.orchestration.dagster import run_times
from sync_pipeline.orchestration.dagster.internals import RunRecord
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.targets.sessions import terminate_sessions
from sync_pipeline.tracking.models import DayOutcome, Recorded
from sync_pipeline.tracking.state import attempts, batches
from sync_pipeline.tracking.state.corrections import Correction
from sync_pipeline.tracking.worker import outbox
from sync_pipeline.tracking.worker.connection import REJECTIONS
from sync_pipeline.tracking.worker.outbox import OutboxEntry

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)
_MAX_PER_RUN = 500
_STATEMENT_SECONDS = 30.0
_T = TypeVar("_T")


def process_outbox(
    connection: "Connection",
    instance: dg.DagsterInstance,
    settings: Settings,
    *,
    of_run: str | None = None,
    running: Collection[str] = (),
) -> Iterator[Correction]:
    """Record each outcome in the target's outbox, and delete its entry; yield a correction for each
    one that was not recorded before.

    If `of_run` is given, only the outcomes of that run are processed. Skips those of runs in
    `running`, whose workers will record them, and of runs that are not in this Dagster instance.
    `connection` is a connection to the tracking tables without an open transaction.
    """
    processed: list[int] = []
    rejected: list[str] = []
    find_run = cache(instance.get_run_record_by_id)
    for entry in _in_target(connection, settings, outbox.entries) or []:
        run_id = entry.outcome.run_id or ""
        if of_run is None and len(processed) == _MAX_PER_RUN:
            break
        if run_id in running or of_run not in (None, run_id):
            continue
        run = find_run(run_id)
        if run is None:
            continue
        try:
            recorded = _record(connection, entry, run)
        except REJECTIONS as error:
            day = f"dataset {entry.outcome.dataset}, day {entry.outcome.day}"
            rejected.append(f"{day}: the tracking tables reject its record: {one_line(error)}")
            continue
        if recorded is not Recorded.WAITING:
            processed.append(entry.id)
        if recorded is Recorded.NOW:
            yield _correction_for(entry.outcome)
    if rejected:
        _logger.error("%s (%d outcomes are rejected)", rejected[0], len(rejected))
    if processed:
        _in_target(connection, settings, partial(outbox.remove, ids=processed))


def _record(connection: "Connection", entry: OutboxEntry, run: RunRecord) -> Recorded:
    """Record an outcome; open the record of its batch if that could not be opened before."""
    outcome, batch_id = entry.outcome, None
    if outcome.batch is not None:
        ago = run_times.seconds_since(run_times.start_time(run))
        # In its own transaction, because other transactions lock days before batches.
        with connection, connection.cursor() as cursor:
            batch_id = batches.open_batch(cursor, outcome.batch, ago=ago)
    with connection, connection.cursor() as cursor:
        ended_ago = time.monotonic() - entry.ended_at
        return attempts.record_outcome(cursor, outcome, batch_id, ended_ago=ended_ago)


def _correction_for(outcome: DayOutcome) -> Correction:
    return Correction(
        f"recorded a late outcome: {outcome.state.value}",
        "its worker ended without recording it",
        dataset=outcome.dataset,
        sync_date=outcome.day,
        batch_key=outcome.batch.batch_key if outcome.batch else None,
        run_id=outcome.run_id,
    )


def terminate_sessions_of_run(connection: "Connection", settings: Settings, run_id: str) -> None:
    """Terminate the sessions in the target that the worker of a lost run left open."""
    terminated = _in_target(connection, settings, partial(terminate_sessions, run_id=run_id))
    if terminated:
        _logger.warning(
            "terminated %d sessions of run %s, whose worker was lost", terminated, run_id
        )


def _in_target(
    connection: "Connection", settings: Settings, work: Callable[["Cursor"], _T]
) -> _T | None:
    """Run `work` in a transaction in the target; return its result, or None if that fails.

    Uses `connection` if it has the same URL as the target.
    """
    try:
        with ExitStack() as opened:
            target = connection
            if settings.tracking_url != settings.database_url:
                target = opened.enter_context(closing(_connect(settings)))
            with target, target.cursor() as cursor:
                return work(cursor)
    except (TargetUnreachableError, psycopg2.Error) as error:
        _logger.warning("the target is unavailable; will retry later: %s", one_line(error))
        return None


def _connect(settings: Settings) -> "Connection":
    return connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose="outbox",
        error=TargetUnreachableError,
        statement_timeout_seconds=_STATEMENT_SECONDS,
    )
