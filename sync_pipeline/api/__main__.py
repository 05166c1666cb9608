"""`python -m sync_pipeline.api`: the API in a process of its own, with the environment's settings.

What `sync-pipeline dev` starts, where everything is set up already.
"""

import argparse
import sys

from sync_pipeline.api.server import serve
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.exit_codes import exit_code_of
from sync_pipeline.settings import current_settings


def main() -> int:
    """Serve until a signal comes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sync_pipeline.api")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    try:
        serve(current_settings(), asked.host, asked.port)
    except SyncError as error:
        sys.stderr.write(f"sync-pipeline: {one_line(error)}\n")
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
