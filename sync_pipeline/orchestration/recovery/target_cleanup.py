"""Clean up what a dead worker leaves in the target: days in the outbox, and open sessions.

If the target is unavailable, nothing is lost: the next run of the reconciler retries. Does not
define the outbox: see `tracking/worker/outbox.py`.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TargetUnreachableError, one_line
from sync_pipeline.orchestration.dagster.observations import UnrecordedDay
from sync_pipeline.orchestration.recovery.after_outage import (
    Recorded,
    correction_for,
    record_late_result,
)
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.sync.result import Outcome
from sync_pipeline.targets.sessions import terminate_sessions
from sync_pipeline.tracking.state.corrections import Correction
from sync_pipeline.tracking.worker import outbox

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
    """Record each day that the target's outbox lists, and delete its entry; yield a correction for
    each day that was not recorded before.

    If `of_run` is given, only the days of that run are processed. Skips the days of runs in
    `running`, whose workers will record them, and of runs that are not in this Dagster instance.
    `connection` is a connection to the tracking tables without an open transaction.
    """
    processed: list[int] = []
    for entry in _in_target(connection, settings, outbox.entries) or []:
        if len(processed) == _MAX_PER_RUN:
            break
        if entry.run_id in running or of_run not in (None, entry.run_id):
            continue
        if instance.get_run_by_id(entry.run_id) is None:
            continue
        day = _day_of(entry)
        with connection, connection.cursor() as cursor:
            recorded = record_late_result(cursor, instance, day, reported=False)
        if recorded is not Recorded.LATER:
            processed.append(entry.id)
        if recorded is Recorded.NOW:
            yield correction_for(day, "its worker ended without recording it")
    if processed:
        _in_target(connection, settings, partial(outbox.remove, ids=processed))


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


def _day_of(entry: outbox.OutboxEntry) -> UnrecordedDay:
    return UnrecordedDay(
        dataset=entry.dataset,
        day=entry.day,
        outcome=Outcome.SUCCESS,
        started_at=entry.started_at,
        ended_at=entry.ended_at,
        counts=entry.counts,
        error=None,
        number=entry.number,
        batch=entry.batch,
        run_id=entry.run_id,
    )
