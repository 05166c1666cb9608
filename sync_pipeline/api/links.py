"""Addresses of pages in Dagster's UI."""

from dataclasses import dataclass
from urllib.parse import quote

from sync_pipeline.tracking.read.history import Record

_BACKFILL = "backfill "  # how triggered_by begins, if a backfill asked for it


@dataclass(frozen=True)
class Links:
    """Into the UI at `base`, as a browser reaches it; none if it does not."""

    base: str | None

    def run(self, run_id: str | None) -> str | None:
        """Return the page of a run; None for none."""
        return (
            None
            if run_id is None or self.base is None
            else f"{self.base}/runs/{quote(run_id, safe='')}"
        )

    def record(self, record: Record) -> str | None:
        """Return the page of what works on a record: its backfill or its run; None for neither."""
        if self.base is None:
            return None
        if record.kind == "batch" and (record.triggered_by or "").startswith(_BACKFILL):
            return f"{self.base}/runs/b/{quote(record.batch_key or '', safe='')}"
        return self.run(record.run_id)
