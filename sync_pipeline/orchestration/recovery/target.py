"""What a worker that is gone has left at the target: days that are in, and sessions that hold on.

While the target is away nothing is done, and nothing lost: the next look does it.
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
from sync_pipeline.orchestration.recovery.late_results import Entry, correction_of, enter
from sync_pipeline.orchestration.recovery.observations import UnrecordedDay
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.sync.result import Outcome
from sync_pipeline.targets.sessions import end_sessions
from sync_pipeline.tracking.state.corrections import Correction
from sync_pipeline.tracking.worker import outbox

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_logger = logging.getLogger(__name__)
_MAX_AT_ONCE = 500  # a look
_STATEMENT_SECONDS = 30.0
_T = TypeVar("_T")


def empty_outbox(
    connection: "Connection",
    instance: dg.DagsterInstance,
    settings: Settings,
    *,
    of_run: str | None = None,
    at_work: Collection[str] = (),
) -> Iterator[Correction]:
    """Enter the days in the outbox at the target, all or those of a run, and remove them from it;
    yield what was not known yet.

    `connection` is one to the records, with no transaction under way. Days of runs in `at_work` are
    left to their workers, and those of runs that Dagster does not know to those whose records they
    are.
    """
    entered: list[int] = []
    for entry in _at_target(connection, settings, outbox.entries) or []:
        if len(entered) == _MAX_AT_ONCE:
            break
        if entry.run_id in at_work or of_run not in (None, entry.run_id):
            continue
        if instance.get_run_by_id(entry.run_id) is None:
            continue
        loaded = _loaded(entry)
        with connection, connection.cursor() as cursor:
            became = enter(cursor, instance, loaded, told=False)
        if became is not Entry.WAITS:
            entered.append(entry.id)
        if became is Entry.ENTERED:
            yield correction_of(loaded, "its worker ended without having recorded it")
    if entered:
        _at_target(connection, settings, partial(outbox.remove, ids=entered))


def end_sessions_of_run(connection: "Connection", settings: Settings, run_id: str) -> None:
    """End what the worker of a run that was lost may still hold at the target."""
    ended = _at_target(connection, settings, partial(end_sessions, run_id=run_id))
    if ended:
        _logger.warning("ended %d sessions of run %s, whose worker was lost", ended, run_id)


def _at_target(
    connection: "Connection", settings: Settings, work: Callable[["Cursor"], _T]
) -> _T | None:
    """Return what `work` returns, done in a transaction at the target; None if it cannot be done.

    Over `connection`, if the records are in the target too.
    """
    try:
        with ExitStack() as opened:
            target = connection
            if settings.tracking_url != settings.database_url:
                target = opened.enter_context(closing(_connect(settings)))
            with target, target.cursor() as cursor:
                return work(cursor)
    except (TargetUnreachableError, psycopg2.Error) as error:
        _logger.warning("the target is looked at again later: %s", one_line(error))
        return None


def _connect(settings: Settings) -> "Connection":
    return connect(
        settings.database_url,
        setting=DATABASE_URL,
        purpose="outbox",
        error=TargetUnreachableError,
        statement_timeout_seconds=_STATEMENT_SECONDS,
    )


def _loaded(entry: outbox.OutboxEntry) -> UnrecordedDay:
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
