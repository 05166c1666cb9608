"""Runs `dagster dev` or `dagster-daemon run`, with a daemon that starts backfills sooner.

`python -m sync_pipeline.orchestration.dagster dev OPTIONS` or `... daemon OPTIONS`. Dagster's own
commands also work, but ignore SYNC_BACKFILL_INTERVAL_SECONDS, check for backfills every 30 seconds,
and take longer to create a run of many days (see `storage.py`). `local/stack.py` checks the
settings.
"""

import logging
import sys

from sync_pipeline.orchestration.dagster import internals
from sync_pipeline.orchestration.dagster.storage import speed_up_daemon
from sync_pipeline.settings import current_settings

_MODULE = "sync_pipeline.orchestration.dagster"


def main() -> None:
    """Run the command in `sys.argv`."""
    command, *options = sys.argv[1:]
    if command == "dev":
        sys.argv = ["dagster", "dev", *options]
        internals.run_dev_command(_MODULE)
    else:
        if not internals.set_backfill_interval(current_settings().backfill_interval_seconds):
            logging.getLogger("dagster").warning(
                "SYNC_BACKFILL_INTERVAL_SECONDS has no effect with this version of Dagster, which "
                "checks for backfills as often as dagster-daemon does"
            )
        sys.argv = ["dagster-daemon", "run", *options]
        internals.run_daemon_command(speed_up_daemon)


if __name__ == "__main__":
    main()
