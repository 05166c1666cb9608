"""One project of datasets: load its `defs.yaml` files and build its Dagster definitions.

Does not decide which project that is: see `definitions.py`.
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
from sync_pipeline.orchestration.sensors import build_sensors


def load_datasets(project: Path) -> list[Dataset]:
    """Return the datasets of the project at `project`, the folder of its pyproject.toml.

    Raises SettingError, of one line, if a `defs.yaml` is not valid or two datasets conflict.
    """
    with _without_dagster_warnings(), translate_load_errors(project):
        components = _tree(project).get_all_components(of_type=DailySync)
    check_conflicts([(component.dataset, component.file) for component in components])
    return [component.dataset for component in components]


def build_defs(project: Path) -> dg.Definitions:
    """Return the Dagster definitions of the project at `project`, the folder of its
    pyproject.toml."""
    datasets = load_datasets(project)
    with _without_dagster_warnings():
        return dg.Definitions.merge(
            _tree(project).build_defs(),
            dg.Definitions(
                jobs=[build_batch_job(datasets)],
                sensors=build_sensors(datasets),
                # A second process per run would have to import Dagster again, which takes seconds.
                executor=dg.in_process_executor,
            ),
        )


@cache
def _tree(project: Path) -> dg.ComponentTree:
    if str(project) not in sys.path:
        sys.path.append(str(project))  # the project's package does not have to be installed
    with _without_dagster_warnings():
        return dg.ComponentTree.for_project(project)


@contextmanager
def _without_dagster_warnings() -> Iterator[None]:
    """Suppress Dagster's warnings about its preview and beta features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield
