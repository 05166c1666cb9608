"""The process that the case `idle_reconciler` measures: the reconciler with nothing to do.

Started as `python -m bench.idle_reconciler_child PASSES`, with complete settings in the
environment. Prints a JSON list of pairs: the seconds of a pass, and those of a connection to the
tracking database with one query.
"""

import json
import sys
import time
from contextlib import closing

import dagster as dg

from bench.pairs import measure_pairs
from sync_pipeline.orchestration.dagster.storage import pool_connections
from sync_pipeline.orchestration.project import load_datasets
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.settings import Settings, current_settings
from sync_pipeline.tracking.connection import connect_tracking


def main(passes: int) -> None:
    """Run one pass to open connections, then time `passes` more and print their durations."""
    settings = current_settings()
    datasets = load_datasets(settings.project_dir)
    cursor = ReconcilerCursor()

    with dg.DagsterInstance.get() as instance:
        pool_connections(instance)

        def reconcile() -> float:
            started = time.perf_counter()
            corrections = Reconciler(instance, settings, datasets, cursor).run_once()
            seconds = time.perf_counter() - started
            if corrections:
                raise SystemExit(f"the reconciler had something to do: {corrections[0]}")
            return seconds

        reconcile()
        pairs = measure_pairs(passes, reconcile, lambda: _query_once(settings), lambda _: None)
    print(json.dumps([[pair.measured, pair.baseline] for pair in pairs]))


def _query_once(settings: Settings) -> float:
    started = time.perf_counter()
    with (
        closing(connect_tracking(settings, "bench")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]))
