"""When runs began and ended by Dagster, and how long ago that is: Unix times and seconds."""

import time

from sync_pipeline.orchestration.dagster.internals import RunRecord


def began(record: RunRecord) -> float:
    """Return when a run began, or was made if it never did."""
    return record.start_time or record.create_timestamp.timestamp()


def ended(record: RunRecord) -> float:
    """Return when a run that is over ended."""
    return record.end_time or record.update_timestamp.timestamp()


def since(moment: float) -> float:
    """Return the seconds since then; 0 for a moment that is yet to come by this machine's clock."""
    return max(0.0, time.time() - moment)
