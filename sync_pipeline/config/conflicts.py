"""Conflicts between the datasets of one project: duplicate names, and shared target tables.

Does not check a single dataset: see `dataset.py`.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError


def check_conflicts(datasets: Sequence[tuple[Dataset, Path]]) -> None:
    """Check a project's datasets, each paired with the path of its `defs.yaml`.

    Raises a SettingError that names both files if two datasets have the same name, or if they write
    to the same table and either of them replaces whole days.
    """
    by_name: dict[str, Path] = {}
    by_table: dict[str, list[tuple[Dataset, Path]]] = defaultdict(list)
    for dataset, file in datasets:
        if dataset.name in by_name:
            raise SettingError(
                f"two datasets are named {dataset.name}: {by_name[dataset.name]} and {file}; "
                "rename the folder of one of them"
            )
        by_name[dataset.name] = file
        by_table[dataset.target.full_name].append((dataset, file))
    for sharing in by_table.values():
        _check_shared_table(sharing)


def _check_shared_table(sharing: Sequence[tuple[Dataset, Path]]) -> None:
    replacing_first = sorted(sharing, key=lambda one: one[0].target.write != "replace_day")
    (dataset, file), *others = replacing_first
    if others and dataset.target.write == "replace_day":
        other, other_file = others[0]
        raise SettingError(
            f"datasets {dataset.name} ({file}) and {other.name} ({other_file}) both write to the "
            f"table {dataset.target.table}, and {dataset.name} would delete the other's rows "
            "whenever it replaces a day; use another target.table for one of them, or set write: "
            "upsert or write: append_only for both"
        )
