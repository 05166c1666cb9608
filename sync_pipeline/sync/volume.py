"""`VolumeCheck`: compare a day's number of rows with its previous sync and with the days before it.

Rows are compared as they were before the run: if a source is emptied and all days are synced again,
each day is compared with what it replaces, not with days that were emptied a moment ago. A day that
was never synced before counts as soon as the run has loaded it. Does not read the records: see
`tracking/read/day_checks.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from statistics import median

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import VolumeError

BASELINE_DAYS = 28
_MIN_BASELINE_DAYS = 7


class VolumeCheck:
    """Checks the days of one run. Threads may share it."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._before: Mapping[date, int] | None = None  # None: unknown
        self._loaded: dict[date, int] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether the dataset compares row counts."""
        return bool(self._dataset.volume.warn_below or self._dataset.volume.fail_below)

    def set_baseline(self, before: Mapping[date, int] | None) -> None:
        """Set the number of rows that days had before the run; None if they are unknown."""
        self._before = before

    def check(self, day: date, rows: int) -> str | None:
        """Check the number of rows that the source has for `day`; return a warning or None.

        Raises VolumeError if the day must not be loaded.
        """
        name = self._dataset.name
        if rows == 0 and self._dataset.on_empty == "fail":
            raise VolumeError(
                f"dataset {name}: the source has no rows for {day}, and on_empty is fail; the "
                "existing rows were kept. If the day is really empty, set on_empty: accept"
            )
        if not self.is_enabled:
            return None
        if self._before is None:
            return "not compared with other days: the records were unavailable"
        expected = {
            "previously": self._before.get(day),
            "typically": self._usual(day, self._before),
        }
        volume, warning = self._dataset.volume, None
        for compared_with, usual in expected.items():
            if usual is None:
                continue
            if rows < volume.fail_below * usual:
                raise VolumeError(
                    f"dataset {name}: the source has {rows:,} rows for {day}, {compared_with} "
                    f"{round(usual):,}, which is less than volume.fail_below "
                    f"({volume.fail_below:g}) allows; the existing rows were kept. If this is "
                    "right, lower fail_below and sync the day again"
                )
            if rows < volume.warn_below * usual:
                warning = f"{rows:,} rows, {compared_with} {round(usual):,}"
        self._loaded[day] = rows
        return warning

    def _usual(self, day: date, before: Mapping[date, int]) -> float | None:
        """Return the median of the days before `day`; None if too few of them are synced."""
        days = [day - timedelta(days=n) for n in range(1, BASELINE_DAYS + 1)]
        known = [before.get(one, self._loaded.get(one)) for one in days]
        rows: Sequence[int] = [one for one in known if one is not None]
        return median(rows) if len(rows) >= _MIN_BASELINE_DAYS else None
