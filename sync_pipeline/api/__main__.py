"""`python -m sync_pipeline.api`: run the API server with settings from the environment.

Started by `server.run_api`, for example in `sync-pipeline dev`. Users run `sync-pipeline api`
instead.
"""

import argparse
import sys

from sync_pipeline.api.server import serve
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.exit_codes import exit_code_of
from sync_pipeline.settings import current_settings


def main() -> int:
    """Serve until a signal arrives; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sync_pipeline.api")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    try:
        serve(current_settings(), arguments.host, arguments.port)
    except SyncError as error:
        sys.stderr.write(f"sync-pipeline: {one_line(error)}\n")
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
