"""`sync_days`: the way of a day, one transaction each, and of many days in one worker.

A day is replaced in the target and recorded in the same transaction, so that data and record
become visible together or not at all. Where the records live in another database, they follow the
commit. A day that fails rolls back to its former content, is recorded with its error, and the
days after it go on. Nothing here knows Dagster.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING

import psycopg2

from sync_pipeline.dataset import Dataset
from sync_pipeline.errors import SupersededError, SyncError, WorkerLostError, one_line
from sync_pipeline.settings import Settings, secrets_of
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target
from sync_pipeline.targets.postgres import Target
from sync_pipeline.tracking.models import Attempt, AttemptState, DayCounts, NewBatch, SyncedDay
from sync_pipeline.tracking.progress import days_between_writes
from sync_pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from sync_pipeline.sources.base import Source

CANCELLED = "cancelled while it ran; the day was rolled back"
_DONE = (AttemptState.SUCCESS, AttemptState.SKIPPED)
_logger = logging.getLogger(__name__)


class Outcome(str, Enum):
    """How a day ended."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class DayResult:
    """What became of one day. `seconds` is wall-clock time; `error` one line without secrets;
    `synced` what a skipped day was found to be, where that is known."""

    day: date
    outcome: Outcome
    seconds: float = 0.0
    counts: DayCounts | None = None
    error: str | None = None
    attempt: Attempt | None = None
    synced: SyncedDay | None = None


def sync_days(
    dataset: Dataset,
    days: Sequence[date],
    *,
    settings: Settings,
    tracker: Tracker,
    batch: NewBatch | None = None,
    resync: bool = True,
) -> Iterator[DayResult]:
    """Sync `days` one after the other; yield each day's result as soon as it is known.

    With `resync` false, days that are already in are skipped. Days that are done in `batch`, which
    this may continue, are skipped in any case, and their records left as they are. A day that fails
    does not stop those after it. Raises SyncError, after the untried days were recorded as not run,
    when source or target cannot be worked with at all; WorkerLostError when this worker was taken
    for lost. If the caller stops (an interrupt, a closed generator) the day in work is rolled back
    and recorded as failed.
    """
    days = sorted(set(days))
    states = {} if batch is None else tracker.batch_days(batch)
    done = {day for day in days if states.get(day) in _DONE}
    synced = tracker.synced_days(dataset.name, days) if done or not resync else {}
    skipped = [] if resync else [day for day in days if day in synced and day not in done]
    if skipped and batch is not None:
        tracker.skip(batch, skipped)
    for day in sorted(done.union(skipped)):
        yield DayResult(day, Outcome.SKIPPED, synced=synced.get(day))
    to_do = [day for day in days if day not in done and day not in skipped]
    if not to_do:
        return
    worker = _Worker(dataset, settings, tracker, batch)
    try:
        try:
            worker.open_target()
        except SyncError as error:
            worker.give_up(to_do, error)
            raise
        try:
            worker.open_source()
        except SyncError as error:
            yield worker.fail_day(to_do[0], error)
            worker.give_up(to_do[1:], error)
            raise
        every = days_between_writes(dataset.progress, len(states or batch.days) if batch else 1)
        for number, day in enumerate(to_do, 1):
            yield worker.sync_day(day, refresh=number % every == 0)
        if batch is not None and every > 1:
            tracker.refresh(batch)
    finally:
        worker.close()


class _Worker:
    """One worker's source, target and tracker, for the days of one dataset."""

    def __init__(
        self, dataset: Dataset, settings: Settings, tracker: Tracker, batch: NewBatch | None
    ) -> None:
        self.dataset = dataset
        self.settings = settings
        self.tracker = tracker
        self.batch = batch
        self.source: Source | None = None
        self.target: Target | None = None
        self.secrets = secrets_of(settings.database_url)

    def open_target(self) -> Target:
        """Open the target if it is not open, or no longer; return it."""
        if self.target is None or self.target.connection.closed:
            self.target = Target(
                open_target(self.dataset, self.settings, f"sync {self.dataset.name}"), self.dataset
            )
        return self.target

    def open_source(self) -> None:
        """Open the source and make the target's table fit it. Raises SyncError."""
        self.secrets += secrets_of(self.settings.postgres_url(self.dataset.source.url_env))
        self.source = open_source(self.dataset, self.settings)
        self.open_target().prepare(self.source.shape)

    def sync_day(self, day: date, *, refresh: bool) -> DayResult:
        """Replace one day and record it; its failure is returned, not raised."""
        assert self.source is not None  # noqa: S101  open_source came first
        started = time.monotonic()
        attempt: Attempt | None = None
        try:
            target = self.open_target()
            target.begin_day(day)
            # Begun before anything is read: an interrupt then always finds the attempt to close.
            attempt = self.tracker.begin(self.dataset.name, day, self.batch)
            with target.reading(day, self.source) as reading:
                loaded = target.load_day(reading)
            counts = DayCounts(loaded.rows_read, loaded.rows_loaded, 0, loaded.bytes)
            recorded = self._record_within(target, attempt, counts, refresh)
            target.connection.commit()
        except WorkerLostError:
            self._roll_back()  # the records are closed already, by whoever took it for lost
            raise
        except Exception as error:
            return self._failed(day, attempt, error, started)
        except BaseException as error:
            self._failed(day, attempt, error, started)
            raise
        if attempt is not None and not recorded:
            try:
                self.tracker.succeed(attempt, counts, refresh=refresh)
            except SupersededError as error:
                # The rows are in, but the day was taken from this worker: the record is not its.
                return self._failed(day, attempt, error, started)
        return DayResult(day, Outcome.SUCCESS, time.monotonic() - started, counts, attempt=attempt)

    def fail_day(self, day: date, error: SyncError) -> DayResult:
        """Record an attempt at `day` that failed with `error` before it could move a row."""
        started = time.monotonic()
        attempt: Attempt | None = None
        try:
            self.open_target().begin_day(day)
            attempt = self.tracker.begin(self.dataset.name, day, self.batch)
        except (SyncError, psycopg2.Error):
            _logger.debug("the day is somebody else's; its record is left alone")
        return self._failed(day, attempt, error, started)

    def give_up(self, days: Sequence[date], error: SyncError) -> None:
        """Record that `days` were not run."""
        if self.batch is not None and days:
            self.tracker.give_up(self.batch, days, one_line(error, *self.secrets))

    def close(self) -> None:
        """Close source and target; what is not committed is rolled back."""
        if self.source is not None:
            self.source.close()
        if self.target is not None:
            self.target.connection.close()

    def _record_within(
        self, target: Target, attempt: Attempt | None, counts: DayCounts, refresh: bool
    ) -> bool:
        if attempt is None or not self.tracker.in_target:
            return False
        with target.connection.cursor() as cursor:
            return self.tracker.succeed_in(cursor, attempt, counts, refresh=refresh)

    def _failed(
        self, day: date, attempt: Attempt | None, error: BaseException, started: float
    ) -> DayResult:
        self._roll_back()
        text = one_line(error, *self.secrets)
        if not isinstance(error, Exception):
            text = CANCELLED
        elif not isinstance(error, (SyncError, psycopg2.Error)):
            _logger.exception("dataset %s, day %s: a bug, please report", self.dataset.name, day)
        if attempt is None:
            self.tracker.refuse(self.dataset.name, day, self.batch, text)
        else:
            self.tracker.fail(attempt, text)
        return DayResult(
            day, Outcome.FAILED, time.monotonic() - started, error=text, attempt=attempt
        )

    def _roll_back(self) -> None:
        if self.target is None:
            return
        try:
            self.target.connection.rollback()
        except psycopg2.Error:
            # The server rolls back by itself what a lost connection leaves behind.
            self.target.connection.close()
