"""Corrections: a log of the records that were corrected and why, for operators.

Does not correct anything: see `orchestration/recovery/`.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_INSERT = """
INSERT INTO sync_correction (what, why, dataset, sync_date, batch_key, run_id)
VALUES (%(what)s, %(why)s, %(dataset)s, %(sync_date)s, %(batch_key)s, %(run_id)s)
"""

_EXISTS = """
SELECT FROM sync_correction
WHERE what = %(what)s AND why = %(why)s AND dataset IS NOT DISTINCT FROM %(dataset)s
"""


@dataclass(frozen=True)
class Correction:
    """What was changed and why, each in one sentence without secrets, and the record concerned."""

    what: str
    why: str
    dataset: str | None = None
    sync_date: date | None = None
    batch_key: str | None = None
    run_id: str | None = None

    @property
    def about(self) -> str:
        """The dataset, day, batch and run concerned, for a log message."""
        named = {
            "dataset": self.dataset,
            "day": self.sync_date,
            "batch": self.batch_key,
            "run": self.run_id,
        }
        return ", ".join(f"{name} {value}" for name, value in named.items() if value)


def write(cursor: "Cursor", correction: Correction) -> None:
    """Add `correction` to the log."""
    cursor.execute(_INSERT, vars(correction))


def write_once(cursor: "Cursor", correction: Correction) -> None:
    """Add `correction` to the log, unless the same one is already there."""
    cursor.execute(_EXISTS, vars(correction))
    if cursor.fetchone() is None:
        write(cursor, correction)
