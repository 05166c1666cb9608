"""Datasets that cannot stand beside each other in one project."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError


def refuse_clashes(datasets: Sequence[tuple[Dataset, Path]]) -> None:
    """Raise SettingError, naming both files, if two datasets have one name, or load one table of
    which one of them replaces whole days."""
    of_name: dict[str, Path] = {}
    of_table: dict[str, list[tuple[Dataset, Path]]] = defaultdict(list)
    for dataset, file in datasets:
        if dataset.name in of_name:
            raise SettingError(
                f"two datasets are called {dataset.name}: {of_name[dataset.name]} and {file}; "
                "rename the folder of one of them"
            )
        of_name[dataset.name] = file
        of_table[dataset.target.full_name].append((dataset, file))
    for sharing in of_table.values():
        _refuse_if_one_replaces(sharing)


def _refuse_if_one_replaces(sharing: Sequence[tuple[Dataset, Path]]) -> None:
    replacing_first = sorted(sharing, key=lambda one: one[0].target.write != "replace_day")
    (dataset, file), *others = replacing_first
    if others and dataset.target.write == "replace_day":
        other, other_file = others[0]
        raise SettingError(
            f"datasets {dataset.name} ({file}) and {other.name} ({other_file}) both load the table "
            f"{dataset.target.table}, and {dataset.name} would delete the other's rows with each "
            "day that it replaces; give one of them another target.table, or let both of them "
            "write: upsert or append_only"
        )
