"""A second PostgreSQL server that a test can stop at any time and start again."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from sync_pipeline.local import embedded_postgres
from sync_pipeline.settings import with_database
from sync_pipeline_tests.integration import helpers

_SETTINGS = {"max_connections": "50"}


class OtherServer:
    """A separate server that keeps its data in `folder`. Its URL stays the same after a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._life = ExitStack()
        self.url = ""

    def start(self) -> None:
        self.url = self._life.enter_context(
            embedded_postgres.run_server(self._folder, settings=_SETTINGS)
        )

    def stop(self, sign: signal.Signals = signal.SIGQUIT) -> None:
        """Stop the server, by default like `pg_ctl stop -m immediate`; wait until it has exited."""
        lines = (self._folder / "postmaster.pid").read_text().splitlines()
        postmaster = psutil.Process(int(lines[0]))
        postmaster.send_signal(sign)
        postmaster.wait(helpers.TIMEOUT_SECONDS)
        self._life.close()

    def database(self, name: str) -> str:
        """Create a database and return its URL."""
        embedded_postgres.ensure_database(self.url, name)
        return with_database(self.url, name)

    def close(self) -> None:
        self._life.close()


@contextmanager
def other_server(folder: Path) -> Iterator[OtherServer]:
    """Run a server in `folder` during the block; stop it afterwards if it is still running."""
    server = OtherServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
