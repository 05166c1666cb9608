"""Start and end times of Dagster runs as Unix times, and the time elapsed since then."""

import time

from sync_pipeline.orchestration.dagster.internals import RunRecord


def start_time(record: RunRecord) -> float:
    """Return the start time of a run, or its creation time if it never started."""
    return record.start_time or record.create_timestamp.timestamp()


def end_time(record: RunRecord) -> float:
    """Return the end time of a finished run."""
    return record.end_time or record.update_timestamp.timestamp()


def seconds_since(timestamp: float) -> float:
    """Return the seconds since `timestamp`, or 0 if this machine's clock is behind it."""
    return max(0.0, time.time() - timestamp)
