"""`dagster dev`, except that its daemon checks for backfills every 5 seconds, not every 30.

The interval is a constant in Dagster that no setting can change. This script replaces the `dagster`
command, and `dagster dev` also runs the daemon through it.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import dagster._cli
from dagster._cli import dev
from dagster._daemon import controller
from dagster._daemon.cli import main as daemon_main

_BACKFILL_SECONDS = 5
_DAEMON = "dagster._daemon"
_start_with_pipe = dev.open_ipc_subprocess  # type: ignore[attr-defined]


def main() -> None:
    """Run the command in `sys.argv`: a `dagster` command, or the daemon."""
    sys.path[0] = os.getcwd()  # as with `python -m`, instead of this file's folder
    if sys.argv[1] == _DAEMON:
        del sys.argv[1]
        assert controller.DEFAULT_DAEMON_INTERVAL_SECONDS == 30, "Dagster has changed the constant"
        controller.DEFAULT_DAEMON_INTERVAL_SECONDS = _BACKFILL_SECONDS
        daemon_main()
    else:
        dev.open_ipc_subprocess = _start  # type: ignore[attr-defined]
        dagster._cli.main()  # type: ignore[no-untyped-call]


def _start(parts: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start one of the processes of `dagster dev`; run the daemon through this script."""
    if list(parts[1:3]) == ["-m", _DAEMON]:
        parts = [sys.executable, __file__, *parts[2:]]
    started: subprocess.Popen[Any] = _start_with_pipe(parts, **options)
    return started


if __name__ == "__main__":
    main()
