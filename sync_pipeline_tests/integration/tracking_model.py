"""A plain Python model of the tracking layer: the expected rows after any sequence of events.

It uses no database and no clock. Each event is a method; `shown` contains each batch's expected
record as of its last refresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

NOT_RUN = "not run: "


@dataclass
class AttemptRow:
    """A row of `sync_attempt`. `number` is None for a day that never started."""

    day: date
    batch: str | None
    run: str | None
    state: str = "pending"
    number: int | None = None
    superseded: bool = False
    rows: int = 0
    error: str | None = None

    def refused(self, batch: str | None, day: date, run: str, error: str) -> bool:
        """Return whether this row records that the day was refused in this run with this error."""
        mine = (self.batch, self.day, self.run, self.error) == (batch, day, run, error)
        return mine and self.state == "failed" and self.number is None


@dataclass
class Day:
    """A day's record."""

    number: int = 0
    status: str = "syncing"
    error: str | None = None
    rows: int = 0


@dataclass(frozen=True)
class BatchState:
    """The contents of a batch's record. `stop_reason` is why the batch stopped early, if it did."""

    total: int
    success: int = 0
    failed: int = 0
    skipped: int = 0
    rows: int = 0
    failed_days: tuple[date, ...] = ()
    stop_reason: str | None = None

    @property
    def done(self) -> int:
        return self.success + self.failed + self.skipped

    @property
    def status(self) -> str:
        if self.done < self.total:
            return "syncing"
        return "failed" if self.failed else "success"


@dataclass
class Model:
    """The rows that the tracking tables contain for one dataset."""

    attempts: list[AttemptRow] = field(default_factory=list)
    days: dict[date, Day] = field(default_factory=dict)
    shown: dict[str, BatchState] = field(default_factory=dict)

    def current(self, batch: str, day: date | None = None) -> list[AttemptRow]:
        return [
            one
            for one in self.attempts
            if one.batch == batch and not one.superseded and day in (None, one.day)
        ]

    def open(self, batch: str, days: Sequence[date], run: str) -> None:
        if batch not in self.shown:
            self.attempts += [AttemptRow(day, batch, run) for day in sorted(set(days))]
            self.refresh(batch)

    def is_done(self, batch: str | None, day: date, resync: bool) -> bool:
        """Return whether the day is already synced and need not be synced again."""
        states = [one.state for one in self.current(batch, day)] if batch else []
        synced = day in self.days and self.days[day].status == "success"
        return synced and (not resync or bool({"success", "skipped"}.intersection(states)))

    def begin(
        self, batch: str | None, day: date, run: str, after: AttemptRow | None, why: str
    ) -> AttemptRow:
        record = self.days.setdefault(day, Day())
        self.days[day] = Day(record.number + 1)
        number = self.days[day].number
        to_refresh = []
        for lost in self.attempts:
            if lost.day == day and lost.state == "syncing":
                lost.state = "failed"
                superseded = f"superseded: attempt {number} started after this one lost the lock"
                lost.error = why if lost is after else superseded
                to_refresh.append(lost.batch)
        (planned,) = self.current(batch, day) if batch else [None]
        if planned is not None and planned.state == "pending":
            started = planned
        else:
            if planned is not None:
                planned.superseded = True
            started = AttemptRow(day, batch, run)
            self.attempts.append(started)
            to_refresh.append(batch)
        started.state, started.number, started.run = "syncing", number, run
        self.refresh(*to_refresh)
        return started

    def may_succeed(self, one: AttemptRow) -> bool:
        latest = self.days[one.day].number == one.number
        return latest and one.state in ("syncing", "success")

    def succeed(self, one: AttemptRow, rows: int) -> None:
        one.state, one.rows = "success", rows
        self.days[one.day] = Day(self.days[one.day].number, "success", None, rows)

    def fail(self, one: AttemptRow, error: str) -> None:
        if one.state == "syncing":
            self._close(one, error)
            self.refresh(one.batch)

    def refuse(self, batch: str | None, day: date, run: str, error: str) -> None:
        if any(one.refused(batch, day, run, error) for one in self.attempts):
            return  # already recorded
        (current,) = self.current(batch, day) if batch else [None]
        if current is not None and current.state == "pending":
            current.state, current.error, current.run = "failed", error, run
        else:
            stays = current is not None and current.state != "failed"
            if current is not None and not stays:
                current.superseded = True
            self.attempts.append(
                AttemptRow(day, batch, run, "failed", superseded=stays, error=error)
            )
        self.refresh(batch)

    def skip(self, batch: str, days: Sequence[date], run: str) -> None:
        for one in self.current(batch):
            if one.day in days and one.state == "pending":
                one.state, one.run = "skipped", run
            elif one.day in days and one.state == "failed":
                one.superseded = True
                self.attempts.append(AttemptRow(one.day, batch, run, "skipped"))
        self.refresh(batch)

    def retry_batch(self, batch: str, days: Sequence[date], run: str) -> None:
        failed = [o for o in self.current(batch) if o.day in days and o.state == "failed"]
        for one in failed:
            one.superseded = True
            self.attempts.append(AttemptRow(one.day, batch, run))
        self.refresh(batch if failed else None)

    def mark_not_run(self, unfinished: Sequence[AttemptRow], error: str) -> None:
        """Close these running or pending attempts as failed."""
        for one in unfinished:
            if one.number is None:
                one.state, one.error = "failed", NOT_RUN + error
            else:
                self._close(one, error)
        self.refresh(*(one.batch for one in unfinished))

    def unfinished_of(
        self, batch: str, days: Sequence[date] | None, run: str | None
    ) -> list[AttemptRow]:
        return [
            one
            for one in self.attempts
            if one.batch == batch
            and one.state in ("pending", "syncing")
            and (days is None or one.day in days)
            and (run is None or one.state == "pending" or one.run == run)
        ]

    def refresh(self, *batches: str | None) -> None:
        for batch in {batch for batch in batches if batch is not None}:
            self.shown[batch] = self.projected(batch)

    def projected(self, batch: str) -> BatchState:
        """Return the state that the batch's record should have if it were refreshed now."""
        shown = BatchState(len(self.current(batch)))
        for one in sorted(self.current(batch), key=lambda one: one.day):
            if one.state == "success":
                shown = replace(shown, success=shown.success + 1, rows=shown.rows + one.rows)
            elif one.state == "skipped":
                shown = replace(shown, skipped=shown.skipped + 1)
            elif one.state == "failed":
                assert one.error is not None
                stop_reason = shown.stop_reason
                if stop_reason is None and one.error.startswith(NOT_RUN):
                    stop_reason = one.error.removeprefix(NOT_RUN)
                shown = replace(
                    shown,
                    failed=shown.failed + 1,
                    failed_days=(*shown.failed_days, one.day),
                    stop_reason=stop_reason,
                )
        return shown

    def _close(self, one: AttemptRow, error: str) -> None:
        record = self.days[one.day]
        if record.number == one.number and record.status == "syncing":
            self.days[one.day] = Day(record.number, "failed", error)
        one.state, one.error = "failed", error
