"""The server of the page over a stack: started, ended, and started again at the same address."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sync_pipeline.api.server import api_running
from sync_pipeline.local.stack import free_port
from sync_pipeline.settings import DAGSTER_UI_URL
from sync_pipeline_tests.stack_project import Stack


@dataclass
class Site:
    """The page's server; `others` are settings beside the stack's."""

    stack: Stack
    others: Mapping[str, str]
    port: int = field(default_factory=lambda: free_port(0))
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        others = {DAGSTER_UI_URL: self.stack.dagster.url, **self.others}
        self.running.enter_context(api_running(self.stack.settings, self.port, **others))

    def stop(self) -> None:
        """End it: its streams end with it."""
        self.running.close()


@contextmanager
def site_running(stack: Stack, **others: str) -> Iterator[Site]:
    """Serve the page of `stack` on a free port for as long as the block lasts."""
    site = Site(stack, others)
    site.start()
    try:
        yield site
    finally:
        site.stop()
