"""`sync-pipeline dev`: Dagster, the API and the page on one machine.

Does not start PostgreSQL: see `local/stack.py`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sync_pipeline.api.config import Config
from sync_pipeline.api.server import RunningApi, run_api
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import free_port
from sync_pipeline.local.stack import RunningDagster, run_dagster
from sync_pipeline.settings import DAGSTER_WEBSERVER_URL, PAGE_URL, Settings

_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class Running:
    """The processes that `sync-pipeline dev` runs."""

    dagster: RunningDagster
    api: RunningApi

    @property
    def page_url(self) -> str:
        return f"{self.api.url}/sync-status"

    def wait(self) -> None:
        """Wait until one of the processes stops, then raise StackError. Never returns."""
        parts: dict[str, RunningDagster | RunningApi] = {
            "Dagster": self.dagster,
            "the API": self.api,
        }
        while True:
            for name, part in parts.items():
                if part.process.poll() is not None:
                    raise StackError(f"{name} stopped unexpectedly; see the end of {part.log}")
            time.sleep(_CHECK_SECONDS)


@contextmanager
def run_everything(settings: Settings, dagster_port: int, api_port: int) -> Iterator[Running]:
    """Run Dagster and the API while the block runs; yield them when they are ready.

    `settings` come from `local.stack.prepare_databases`. Port 0 selects a free port. Raises
    SettingError or StackError.
    """
    dagster_port = free_port(dagster_port)
    api_port = free_port(api_port, "--page-port")
    webserver = {DAGSTER_WEBSERVER_URL: f"http://127.0.0.1:{dagster_port}"}
    # Dagster needs the page's URL to link each day to its record.
    page = settings.page_url or f"http://localhost:{api_port}"
    complete = Settings({**settings.environment, PAGE_URL: page, **webserver})
    Config.of(complete, "127.0.0.1")  # raises SettingError before anything is started
    with (
        run_dagster(complete, dagster_port) as dagster,
        run_api(complete, api_port) as api,
    ):
        yield Running(dagster, api)
