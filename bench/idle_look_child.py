"""The process that `idle_look` measures: the reconciler, looking where there is nothing to do.

Started as `python -m bench.idle_look_child LOOKS`, with complete settings in the environment.
Answers on standard output with one JSON list: the seconds of each look.
"""

import json
import sys
import time

import dagster as dg

from sync_pipeline.orchestration.dagster.storage import keep_connections_open
from sync_pipeline.orchestration.project import load_datasets
from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor
from sync_pipeline.orchestration.recovery.reconciler import Reconciler
from sync_pipeline.settings import current_settings


def main(looks: int) -> None:
    """Look `looks` times, after a first look that opens connections; print how long each took."""
    settings = current_settings()
    datasets = load_datasets(settings.project_dir)
    memory = ReconcilerCursor()
    seconds = []
    with dg.DagsterInstance.get() as instance:
        keep_connections_open(instance)
        for _ in range(looks + 1):
            began = time.perf_counter()
            corrections = Reconciler(instance, settings, datasets, memory).look()
            seconds.append(time.perf_counter() - began)
            if corrections:
                raise SystemExit(f"there was something to do: {corrections[0]}")
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
