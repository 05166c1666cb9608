"""The entry point of `sync-pipeline`. Does not define the commands: see `app.py`."""

import sys
from typing import NoReturn

from sync_pipeline.cli import worker_process

_LAUNCHING = ("backfill", "retry")


def main() -> NoReturn:
    """Run the command in `sys.argv` and exit with its exit code."""
    if sys.argv[1:2] and sys.argv[1] in _LAUNCHING:
        worker_process.start_early()
    from sync_pipeline.cli import app

    app.main()
