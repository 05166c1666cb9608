"""Serve the page for a test stack; tests can stop the server and restart it on the same port."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sync_pipeline.api.server import run_api
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import DAGSTER_WEBSERVER_URL
from sync_pipeline_tests.stack_project import Stack


@dataclass
class Site:
    """The page's server; `extra_settings` are added to the stack's settings."""

    stack: Stack
    extra_settings: Mapping[str, str]
    port: int = field(default_factory=lambda: free_port(0))
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it responds."""
        extra = {DAGSTER_WEBSERVER_URL: self.stack.dagster.url, **self.extra_settings}
        self.running.enter_context(run_api(self.stack.settings, self.port, **extra))

    def stop(self) -> None:
        """Stop the server, which closes its event streams."""
        self.running.close()


@contextmanager
def site_running(stack: Stack, **extra_settings: str) -> Iterator[Site]:
    """Serve the page for `stack` on a free port during the block."""
    site = Site(stack, extra_settings)
    site.start()
    try:
        yield site
    finally:
        site.stop()
