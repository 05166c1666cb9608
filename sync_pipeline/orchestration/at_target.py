"""What a worker that is gone has left at the target: days that are in, and sessions that hold on.

While the target is away nothing is done, and nothing lost: the next look does it.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.day_result import Outcome
from sync_pipeline.errors import TargetUnreachableError, one_line
from sync_pipeline.orchestration.late_entries import Entry, correction_of, enter
from sync_pipeline.orchestration.unrecorded import UnrecordedDay
from sync_pipeline.settings import DATABASE_URL, Settings
from sync_pipeline.targets.sessions import end_sessions
from sync_pipeline.tracking import outbox
from sync_pipeline.tracking.corrections import Correction

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_logger = logging.getLogger(__name__)
_MOST_AT_ONCE = 500  # a look


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

    Those of runs in `at_work` are left to their workers, and those of runs that Dagster does not
    know to those whose records they are. What cannot be done now, the target being away, is left.
    """
    try:
        with _target(connection, settings) as target:
            with target, target.cursor() as cursor:
                found = [
                    entry
                    for entry in outbox.entries(cursor)
                    if entry.run_id not in at_work and of_run in (None, entry.run_id)
                ]
            for entry in found[:_MOST_AT_ONCE]:
                if instance.get_run_by_id(entry.run_id) is None:
                    continue
                loaded = _loaded(entry)
                with connection, connection.cursor() as cursor:
                    entered = enter(cursor, instance, loaded, told=False)
                if entered is Entry.WAITS:
                    continue
                with target, target.cursor() as cursor:
                    outbox.remove(cursor, [entry.id])
                if entered is Entry.ENTERED:
                    yield correction_of(
                        loaded, "its worker ended between its commit and its record"
                    )
    except (TargetUnreachableError, psycopg2.Error) as error:
        _logger.warning("the outbox is looked at again later: %s", one_line(error))


def end_sessions_of_run(connection: "Connection", settings: Settings, run_id: str) -> None:
    """End what the worker of a run that was lost may still hold at the target."""
    try:
        with _target(connection, settings) as target, target, target.cursor() as cursor:
            ended = end_sessions(cursor, run_id)
    except (TargetUnreachableError, psycopg2.Error) as error:
        _logger.warning("sessions of run %s were not ended: %s", run_id, one_line(error))
    else:
        if ended:
            _logger.warning("ended %d sessions of run %s, whose worker was lost", ended, run_id)


@contextmanager
def _target(connection: "Connection", settings: Settings) -> Iterator["Connection"]:
    """The target: over `connection`, if the records are in it too."""
    if settings.tracking_url == settings.database_url:
        yield connection
        return
    with closing(
        connect(
            settings.database_url,
            setting=DATABASE_URL,
            purpose="outbox",
            error=TargetUnreachableError,
        )
    ) as target:
        yield target


def _loaded(entry: outbox.Entry) -> UnrecordedDay:
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
