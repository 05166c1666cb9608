"""A second PostgreSQL server that a test stops in the middle of something and starts again."""

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
    """A server of its own in `folder`. Its URL stays the same over all of its lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._life = ExitStack()
        self.url = ""

    def start(self) -> None:
        self.url = self._life.enter_context(
            embedded_postgres.run_server(self._folder, settings=_SETTINGS)
        )

    def stop(self, sign: signal.Signals = signal.SIGQUIT) -> None:
        """Stop at once, as `pg_ctl stop -m immediate` does; return when it is down."""
        lines = (self._folder / "postmaster.pid").read_text().splitlines()
        postmaster = psutil.Process(int(lines[0]))
        postmaster.send_signal(sign)
        postmaster.wait(helpers.TIMEOUT_SECONDS)
        self._life.close()

    def database(self, name: str) -> str:
        """Make a database and return its URL."""
        embedded_postgres.ensure_database(self.url, name)
        return with_database(self.url, name)

    def close(self) -> None:
        self._life.close()


@contextmanager
def other_server(folder: Path) -> Iterator[OtherServer]:
    """A running server in `folder`, which is stopped at the end if it runs then."""
    server = OtherServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
