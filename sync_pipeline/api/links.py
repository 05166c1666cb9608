"""Links to pages of the Dagster UI."""

from dataclasses import dataclass
from urllib.parse import quote

from sync_pipeline.tracking.read.history import Record

_BACKFILL_PREFIX = "backfill "  # in backfill records, `triggered_by` starts with this


@dataclass(frozen=True)
class Links:
    """Links to the Dagster UI. `base` is its URL for browsers, or None if they cannot reach it."""

    base: str | None

    def run(self, run_id: str | None) -> str | None:
        """Return the URL of a run's page, or None if there is no run or no reachable UI."""
        return (
            None
            if run_id is None or self.base is None
            else f"{self.base}/runs/{quote(run_id, safe='')}"
        )

    def record(self, record: Record) -> str | None:
        """Return the URL of a record's backfill or run, or None if there is none to link to."""
        if self.base is None:
            return None
        if record.kind == "batch" and (record.triggered_by or "").startswith(_BACKFILL_PREFIX):
            return f"{self.base}/runs/b/{quote(record.batch_key or '', safe='')}"
        return self.run(record.run_id)
