"""The process of one run. The fork server imports this module, and with it Dagster.

Must not import a project or start a thread. Does not launch runs: see `run_launcher.py`.
"""

from sync_pipeline.orchestration.dagster import internals


def execute_run(arguments: str) -> None:
    """Execute a run in this forked process; `arguments` is a serialized ExecuteRunArgs."""
    internals.execute_run(arguments)
