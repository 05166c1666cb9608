"""The entry point of `sync-pipeline`. Does not define the commands: see `app.py`."""

import sys
from typing import NoReturn

from sync_pipeline.cli import worker_process

_LAUNCHING = ("backfill", "retry")
_HELP = {"--help", "-h"}


def main() -> NoReturn:
    """Run the command in `sys.argv` and exit with its exit code."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _LAUNCHING and not set(arguments) & _HELP:
        worker_process.start_early()
    from sync_pipeline.cli import app

    app.main()
