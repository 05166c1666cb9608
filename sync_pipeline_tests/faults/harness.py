"""What the rounds share: servers, worlds, the workers' fork server and a small disk."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sync_pipeline_tests.faults.disk import TinyDisk, tiny_disk
from sync_pipeline_tests.faults.plan import STACK_KINDS, Plan
from sync_pipeline_tests.faults.round import Round
from sync_pipeline_tests.faults.rounds import play
from sync_pipeline_tests.faults.servers import Server
from sync_pipeline_tests.faults.stack_rounds import play_on_stack
from sync_pipeline_tests.faults.world import (
    Layout,
    World,
    made_world,
    running_servers,
    write_project,
)


class Harness:
    """Runs rounds, and creates each world when a round first needs it."""

    def __init__(
        self, folder: Path, servers: dict[str, Server], disk: TinyDisk | None, stack: ExitStack
    ) -> None:
        self._folder = folder
        self._servers = servers
        self._disk = disk
        self._stack = stack
        self._worlds: dict[Layout, World] = {}

    def world(self, layout: Layout) -> World:
        if layout not in self._worlds:
            made = made_world(self._folder, layout, self._servers)
            self._worlds[layout] = self._stack.enter_context(made)
        return self._worlds[layout]

    def play(self, plan: Plan) -> Round:
        folder = self._folder / "rounds" / str(plan.number)
        folder.mkdir(parents=True)
        if plan.kind in STACK_KINDS:
            return play_on_stack(plan, self.world(plan.layout), folder)
        return play(plan, self.world(plan.layout), folder, self._disk)


@contextmanager
def running_harness() -> Iterator[Harness]:
    """Provide the servers and the disk that the rounds need while the block runs."""
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-faults-") as name, ExitStack() as stack:
        folder = Path(name)
        write_project(folder / "project")
        servers = stack.enter_context(running_servers(folder))
        disk = stack.enter_context(tiny_disk(folder / "disk", servers["target"]))
        yield Harness(folder, servers, disk, stack)
