"""Run backfills of a project from the command line, and read their runs in Dagster's storage."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psutil

from sync_pipeline_tests.command import Ended, run, started
from sync_pipeline_tests.stack_project import Databases, days
from sync_pipeline_tests.waiting import wait_until

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def backfill(project: Databases, of: list[date], *options: str) -> Ended:
    return run(project.settings.environment, "backfill", "orders", of[0], of[-1], *options)


def run_of(project: Databases, run_id: str) -> dict[str, Any]:
    """Return a run and its tags from Dagster's storage."""
    (found,) = project.target("SELECT * FROM dagster.runs WHERE run_id = %s", [run_id])
    tags = project.target("SELECT key, value FROM dagster.run_tags WHERE run_id = %s", [run_id])
    return {**found, "tags": {tag["key"]: tag["value"] for tag in tags}}


@contextmanager
def running(
    project: Databases, first: date, *, finished: int, of: int = 20, script: bool = False
) -> Iterator[tuple["subprocess.Popen[str]", str, psutil.Process]]:
    """Start a slow backfill. Once `finished` days are synced, yield its process, key and worker.

    With `script`, it is started with the installed script.
    """
    slow = days(first, of)
    project.pause("orders", slow, 0.3)
    words = ("backfill", "orders", slow[0], slow[-1])
    with started(project.settings.environment, *words, script=script) as process:
        assert process.stdout is not None
        found = re.match(rf"batch (cli-{UUID}), ", process.stdout.readline())
        assert found
        (worker,) = psutil.Process(process.pid).children()  # the worker also has child processes
        wait_until(lambda: done(project, found[1]) >= finished)
        yield process, found[1], worker


def in_work(project: Databases, key: str) -> bool:
    states = {attempt["state"] for attempt in project.attempts(project.batch(key)["id"])}
    return "syncing" in states


def done(project: Databases, key: str) -> int:
    """Return how many of a batch's days are synced, or 0 if the batch has no record yet."""
    return sum(record["success_count"] for record in project.batches(key))
