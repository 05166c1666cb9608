"""Dagster, the API and the page on one machine: what `sync-pipeline dev` runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sync_pipeline.api.config import Config
from sync_pipeline.api.server import RunningApi, api_running
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import free_port
from sync_pipeline.local.stack import RunningDagster, dagster_running
from sync_pipeline.settings import DAGSTER_WEBSERVER_URL, PAGE_URL, Settings

_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Running:
    """Everything, at work."""

    dagster: RunningDagster
    api: RunningApi

    @property
    def page_url(self) -> str:
        return f"{self.api.url}/sync-status"

    def wait(self) -> None:
        """Return never: raise StackError when a part of it has stopped by itself."""
        parts: dict[str, RunningDagster | RunningApi] = {
            "Dagster": self.dagster,
            "the API": self.api,
        }
        while True:
            for name, part in parts.items():
                if part.process.poll() is not None:
                    raise StackError(f"{name} stopped by itself; the end of {part.log} says why")
            time.sleep(_LOOK_SECONDS)


@contextmanager
def everything_running(settings: Settings, dagster_port: int, api_port: int) -> Iterator[Running]:
    """Run Dagster and the API for as long as the block lasts; yield when all of it answers.

    `settings` come from `stack.databases`. Port 0 takes a free one. Raises SettingError,
    StackError.
    """
    dagster_port = free_port(dagster_port)
    api_port = free_port(api_port, "--page-port")
    own = {DAGSTER_WEBSERVER_URL: f"http://127.0.0.1:{dagster_port}"}
    # Dagster links from a day to its record, so it is told where the page will be.
    page = settings.page_url or f"http://localhost:{api_port}"
    complete = Settings({**settings.environment, PAGE_URL: page, **own})
    Config.of(complete, "127.0.0.1")  # before anything is started that would be in vain
    with (
        dagster_running(complete, dagster_port) as dagster,
        api_running(complete, api_port) as api,
    ):
        yield Running(dagster, api)
