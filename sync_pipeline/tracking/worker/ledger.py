"""What a run writes into the tracking tables, in order, and what it owes while they are away."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sync_pipeline.settings import Settings
from sync_pipeline.tracking.models import Batch, NewBatch
from sync_pipeline.tracking.state import batches
from sync_pipeline.tracking.worker.connection import (
    RecordRejectedError,
    TrackingConnection,
    TrackingUnavailableError,
)
from sync_pipeline.tracking.worker.events import Actor, BatchOpened, TrackingEvent

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

SETTLE_SECONDS = 5.0
"""How long the end of a run waits for tables that are away, before it leaves what it owes."""

_PAUSE_SECONDS = 0.2
_MAX_NAMED = 10
_T = TypeVar("_T")


class Ledger:
    """Writes facts in the name of `by`. A batch is opened or joined before the first about it.

    `asked` has the moment, by `time.monotonic()`, at which each batch was first asked for. The
    ledgers of a run share it: a batch began then, whichever of them opens it, and however late.
    """

    def __init__(self, settings: Settings, by: Actor, logger: logging.Logger) -> None:
        self._by = by
        self._logger = logger
        self._tables = TrackingConnection(settings, logger)
        self.in_target = self._tables.in_target
        self.asked: dict[tuple[str, str], float] = {}
        self._batches: dict[tuple[str, str], Batch] = {}
        self._owed: deque[TrackingEvent] = deque()

    @property
    def has_pending(self) -> bool:
        """Whether facts wait to be written."""
        return bool(self._owed)

    def record(self, fact: TrackingEvent) -> None:
        """Write `fact` now, or keep it until that can be done."""
        if fact.batch is not None:
            # Now, not when it comes to its turn: the tables may be away until then.
            self.asked.setdefault(_key(fact.batch), time.monotonic())
        self._owed.append(fact)
        self._settle()

    def batch(self, new: NewBatch) -> Batch | None:
        """Open, or join, a batch; return it, or None if that cannot be done now."""
        if _key(new) not in self._batches:
            if any(fact.batch is not None and _key(fact.batch) == _key(new) for fact in self._owed):
                self._settle()  # the first fact about it opens it
            else:
                self.record(BatchOpened(new))
        return self._batches.get(_key(new))

    def ask(self, work: Callable[["Cursor"], _T], *, durable: bool = False) -> _T | None:
        """Return what `work` returns, done in a transaction once what is owed is written; None if
        it cannot be done."""
        try:
            self._pay()
            return self._tables.do(work, durable=durable)
        except TrackingUnavailableError:
            self._batches.clear()  # what comes back may be older than what went
        except RecordRejectedError:
            pass
        return None

    def close(self) -> None:
        """Write what is owed, if that can be done in time, else log it; close the connection."""
        try:
            self._pay_at_last()
            self._log_owed()
        finally:
            self._tables.close()

    def transfer_pending_to(self, to: "Ledger") -> None:
        """Leave what is owed to another ledger of the same run; close the connection."""
        to._owed.extend(self._owed)
        self._owed.clear()
        self._tables.close()

    def _settle(self) -> None:
        try:
            self._pay()
        except TrackingUnavailableError:
            self._batches.clear()

    def _pay(self) -> None:
        """Write what is owed, in order, but for what waits for another run's end.

        Raises TablesAwayError.
        """
        waiting: list[TrackingEvent] = []
        try:
            while self._owed:
                # It is owed until it is written, also if a signal comes in between.
                if not self._write(self._owed[0]):
                    waiting.append(self._owed[0])
                self._owed.popleft()
        finally:
            self._owed.extendleft(reversed(waiting))

    def _write(self, fact: TrackingEvent) -> bool:
        """Write `fact` in a transaction of its own; False if it must wait."""
        new = fact.batch
        follows = self._owed[1].batch if len(self._owed) > 1 else None
        last = follows is None or new is None or _key(follows) != _key(new)
        try:
            batch_id = None if new is None else self._open(new).id
            return self._tables.do(
                lambda cursor: fact.write(cursor, batch_id, self._by, last=last), durable=last
            )
        except RecordRejectedError:
            return True  # the log has it; it would be refused again

    def _open(self, new: NewBatch) -> Batch:
        if _key(new) not in self._batches:
            asked = self.asked[_key(new)]
            self._batches[_key(new)] = self._tables.do(
                lambda cursor: batches.open_batch(cursor, new, ago=time.monotonic() - asked),
                durable=True,
            )
        return self._batches[_key(new)]

    def _pay_at_last(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._owed:
            self._tables.try_again()
            try:
                self._pay()
            except TrackingUnavailableError:
                if time.monotonic() < deadline:
                    time.sleep(_PAUSE_SECONDS)
                    continue
            return

    def _log_owed(self) -> None:
        if self._owed:
            named = [str(fact) for fact in list(self._owed)[:_MAX_NAMED]]
            more = ["…"] if len(self._owed) > _MAX_NAMED else []
            self._logger.error(
                "run %s ends and %d facts are not recorded: %s",
                self._by.run_id,
                len(self._owed),
                "; ".join(named + more),
            )
            self._owed.clear()


def _key(batch: NewBatch) -> tuple[str, str]:
    return batch.batch_key, batch.dataset
