"""A Dagster instance shared by the test folders `api` and `stack`, which run one after the other.

The tests in `stack` use days in 2024, and those in `api` use days in 2025.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.stack_project import Stack

FOLDERS = ("api", "stack")
FIRST_DAY = date(2024, 1, 1)
_DELIVERIES = """
type: sync_pipeline.DailySync
attributes:
  start_date: 2025-06-01
  end_date: 2025-06-30
  source: {type: files, path: "{day}.csv", columns: {id: bigint}}
  target: {table: deliveries}
"""

HISTORY_START = date(2008, 1, 1)
HISTORY_DAYS = 6000
_HISTORY = f"""
type: sync_pipeline.DailySync
attributes:
  start_date: {HISTORY_START}
  end_date: {HISTORY_START + timedelta(days=HISTORY_DAYS - 1)}
  source: {{type: python, function: team.history:no_rows, columns: {{id: bigint}}}}
  target: {{table: history}}
  progress: {{percent: 10}}
  parallel_days: 4
"""
_NO_ROWS = "def no_rows(day): return []"


class SharedStack:
    """The stack, started when a test first needs it."""

    def __init__(self, make_database: Callable[[str | None], str], folder: Path) -> None:
        self._make_database = make_database
        self._folder = folder
        self._running = ExitStack()
        self._stack: Stack | None = None

    def get(self) -> Stack:
        """Return the running stack, starting it on the first call.

        Besides the two PostgreSQL datasets, it has `deliveries`, which reads files, and `history`,
        whose many days have no rows.
        """
        if self._stack is None:
            project = stack_project.project(self._make_database, self._folder, start=FIRST_DAY)
            made = self._running.enter_context(project)
            folder = stack_project.write_dataset(self._folder, "deliveries", "single_run")
            (folder / "defs.yaml").write_text(_DELIVERIES)
            (self._folder / "2025-06-01.csv").write_text("id\n1\n2\n")
            folder = stack_project.write_dataset(self._folder, "history", "single_run")
            (folder / "defs.yaml").write_text(_HISTORY)
            (self._folder / "team" / "history.py").write_text(_NO_ROWS)
            dagster = self._running.enter_context(stack_project.run_dagster(made.settings))
            self._stack = Stack(made.settings, dagster)
        return self._stack

    def stop(self) -> None:
        """Stop the stack if it is running, so that it does not use CPU time."""
        self._running.close()
        self._stack = None
