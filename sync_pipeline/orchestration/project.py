"""Load the datasets of a project, and build its Dagster definitions.

Does not choose the project: see `definitions.py`.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dagster as dg

from sync_pipeline.config.conflicts import check_conflicts
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.orchestration.batch_job import build_batch_job
from sync_pipeline.orchestration.component import DailySync, translate_load_errors
from sync_pipeline.orchestration.dagster.internals import loads_for_a_run
from sync_pipeline.orchestration.sensors import build_sensors


def load_datasets(project: Path) -> list[Dataset]:
    """Return the datasets of a project; `project` is the folder that contains its pyproject.toml.

    Raises a one-line SettingError if a `defs.yaml` is not valid or two datasets conflict.
    """
    with _without_dagster_warnings(), translate_load_errors(project):
        components = _tree(project).get_all_components(of_type=DailySync)
    check_conflicts([(component.dataset, component.file) for component in components])
    return [component.dataset for component in components]


def build_defs(project: Path) -> dg.Definitions:
    """Return the Dagster definitions of a project; `project` is the folder that contains its
    pyproject.toml."""
    datasets = load_datasets(project)
    tree = _tree(project)
    with _without_dagster_warnings():
        return dg.Definitions.merge(
            # A run does not need the JSON schemas of all installed component types, which take
            # longer than everything else.
            tree.build_defs_at_path(".") if loads_for_a_run() else tree.build_defs(),
            dg.Definitions(
                jobs=[build_batch_job(datasets)],
                sensors=build_sensors(datasets),
                # A separate process per step would have to import Dagster, which takes seconds.
                executor=dg.in_process_executor,
            ),
        )


@cache
def _tree(project: Path) -> dg.ComponentTree:
    if str(project) not in sys.path:
        sys.path.append(str(project))  # so that the project's package need not be installed
    with _without_dagster_warnings():
        return dg.ComponentTree.for_project(project)


@contextmanager
def _without_dagster_warnings() -> Iterator[None]:
    """Suppress Dagster's warnings about its preview and beta features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield
