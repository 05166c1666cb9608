"""PostgreSQL servers that a round can stop abruptly, as a power failure would, and then restart."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sync_pipeline.local import embedded_postgres
from sync_pipeline_tests import queries

_TIMEOUT_SECONDS = 60
# Fast and small: rounds kill processes but not the machine, so data need not be flushed to disk.
_SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "150",
    "track_commit_timestamp": "on",  # so that rounds know when a day was committed
}


class Server:
    """A PostgreSQL server whose data is in `folder`. `url` connects as the superuser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._changing = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Run the server while the block runs; the block may stop and restart it."""
        with embedded_postgres.run_server(self.folder, settings=_SETTINGS) as self.url:
            yield self

    def stop_at_once(self) -> None:
        """Stop the server as `pg_ctl stop -m immediate` does, and wait until it has exited."""
        with self._changing, suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            os.kill(pid, signal.SIGQUIT)
            process.wait(_TIMEOUT_SECONDS)

    def start(self) -> None:
        """Start the server if it is not running, and wait until it accepts connections."""
        # Leaving this block does not stop the server, because `running` still uses it.
        with self._changing, embedded_postgres.run_server(self.folder, settings=_SETTINGS):
            pass


def query(url: str, statement: Any, values: Any = None) -> list[dict[str, Any]]:
    """Run a statement with a timeout, as `queries.query` does."""
    options = "-c statement_timeout=20s"
    return queries.query(url, statement, values, connect_timeout=10, options=options)
