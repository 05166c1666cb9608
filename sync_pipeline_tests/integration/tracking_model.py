"""A model of the tracking layer in plain Python: what its tables must say after any events.

It knows no database and no clock. Each method is an event; `record_of` is what the batch's record
must show, as of when it was last refreshed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

NOT_RUN = "not run: "


@dataclass
class Try:
    """One row of `sync_attempt`. `number` is None for a day that never began."""

    day: date
    batch: str | None
    run: str | None
    state: str = "pending"
    number: int | None = None
    superseded: bool = False
    rows: int = 0
    error: str | None = None

    def refused(self, batch: str | None, day: date, run: str, error: str) -> bool:
        """Whether it says that the day could not begin in this run, for this reason."""
        mine = (self.batch, self.day, self.run, self.error) == (batch, day, run, error)
        return mine and self.state == "failed" and self.number is None


@dataclass
class Day:
    """One day's record."""

    number: int = 0
    status: str = "syncing"
    error: str | None = None
    rows: int = 0


@dataclass(frozen=True)
class Shown:
    """What a batch's record shows. `stop_reason` is why it broke off, if it did."""

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
    """The tables of one dataset."""

    tries: list[Try] = field(default_factory=list)
    days: dict[date, Day] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)

    def standing(self, batch: str, day: date | None = None) -> list[Try]:
        return [
            one
            for one in self.tries
            if one.batch == batch and not one.superseded and day in (None, one.day)
        ]

    def open(self, batch: str, days: Sequence[date], run: str) -> None:
        if batch not in self.shown:
            self.tries += [Try(day, batch, run) for day in sorted(set(days))]
            self.refresh(batch)

    def is_done(self, batch: str | None, day: date, resync: bool) -> bool:
        """Whether the day is in and need not be done, though it is to be done `resync`."""
        states = [one.state for one in self.standing(batch, day)] if batch else []
        is_in = day in self.days and self.days[day].status == "success"
        return is_in and (not resync or bool({"success", "skipped"}.intersection(states)))

    def begin(self, batch: str | None, day: date, run: str, after: Try | None, why: str) -> Try:
        record = self.days.setdefault(day, Day())
        self.days[day] = Day(record.number + 1)
        number = self.days[day].number
        to_refresh = []
        for lost in self.tries:
            if lost.day == day and lost.state == "syncing":
                lost.state = "failed"
                superseded = f"superseded: attempt {number} started, this one had lost the lock"
                lost.error = why if lost is after else superseded
                to_refresh.append(lost.batch)
        (planned,) = self.standing(batch, day) if batch else [None]
        if planned is not None and planned.state == "pending":
            begun = planned
        else:
            if planned is not None:
                planned.superseded = True
            begun = Try(day, batch, run)
            self.tries.append(begun)
            to_refresh.append(batch)
        begun.state, begun.number, begun.run = "syncing", number, run
        self.refresh(*to_refresh)
        return begun

    def may_succeed(self, one: Try) -> bool:
        latest = self.days[one.day].number == one.number
        return latest and one.state in ("syncing", "success")

    def succeed(self, one: Try, rows: int) -> None:
        one.state, one.rows = "success", rows
        self.days[one.day] = Day(self.days[one.day].number, "success", None, rows)

    def fail(self, one: Try, error: str) -> None:
        if one.state == "syncing" and self.days[one.day].number == one.number:
            self._close(one, error)
        self.refresh(one.batch)

    def refuse(self, batch: str | None, day: date, run: str, error: str) -> None:
        (standing,) = self.standing(batch, day) if batch else [None]
        if standing is not None and standing.state == "pending":
            standing.state, standing.error, standing.run = "failed", error, run
        elif any(one.refused(batch, day, run, error) for one in self.tries):
            return  # said before
        else:
            at_work = standing is not None and standing.state == "syncing"
            if standing is not None and not at_work:
                standing.superseded = True
            self.tries.append(Try(day, batch, run, "failed", superseded=at_work, error=error))
        self.refresh(batch)

    def skip(self, batch: str, days: Sequence[date], run: str) -> None:
        for one in self.standing(batch):
            if one.day in days and one.state == "pending":
                one.state, one.run = "skipped", run
            elif one.day in days and one.state == "failed":
                one.superseded = True
                self.tries.append(Try(one.day, batch, run, "skipped"))
        self.refresh(batch)

    def retry_batch(self, batch: str, days: Sequence[date], run: str) -> None:
        failed = [o for o in self.standing(batch) if o.day in days and o.state == "failed"]
        for one in failed:
            one.superseded = True
            self.tries.append(Try(one.day, batch, run))
        self.refresh(batch if failed else None)

    def mark_not_run(self, given_up: Sequence[Try], error: str) -> None:
        """Close these, which are at work or wait."""
        for one in given_up:
            if one.number is None:
                one.state, one.error = "failed", NOT_RUN + error
            else:
                self._close(one, error)
        self.refresh(*(one.batch for one in given_up))

    def unfinished_of(self, batch: str, days: Sequence[date] | None, run: str | None) -> list[Try]:
        return [
            one
            for one in self.tries
            if one.batch == batch
            and one.state in ("pending", "syncing")
            and (days is None or one.day in days)
            and (run is None or one.state == "pending" or one.run == run)
        ]

    def refresh(self, *batches: str | None) -> None:
        for batch in {batch for batch in batches if batch is not None}:
            self.shown[batch] = self.projected(batch)

    def projected(self, batch: str) -> Shown:
        """What the record must show if it is refreshed now."""
        shown = Shown(len(self.standing(batch)))
        for one in sorted(self.standing(batch), key=lambda one: one.day):
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

    def _close(self, one: Try, error: str) -> None:
        record = self.days[one.day]
        if record.number == one.number and record.status == "syncing":
            self.days[one.day] = Day(record.number, "failed", error)
        one.state, one.error = "failed", error
