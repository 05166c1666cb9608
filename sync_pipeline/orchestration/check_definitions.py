"""A process that loads the definitions and opens each dataset's source and target.

Started by `sync-pipeline doctor` (`cli/doctor.py`), which does not import dagster itself. Prints
one JSON object per line: what was checked, whether it is OK, and a message.
"""

import json
from collections.abc import Iterator
from contextlib import closing

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SyncError, one_line
from sync_pipeline.settings import Settings, current_settings
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target


def main() -> None:
    """Check everything and print each finding."""
    for what, ok, message in _check(current_settings()):
        print(json.dumps({"what": what, "ok": ok, "message": message}), flush=True)  # noqa: T201


def _check(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    from sync_pipeline.orchestration.component import translate_load_errors
    from sync_pipeline.orchestration.project import build_defs, load_datasets

    project = settings.project_dir
    try:
        with translate_load_errors(project):
            build_defs(project)
            datasets = load_datasets(project)
    except SyncError as error:
        yield "definitions", False, one_line(error)
        return
    names = ", ".join(dataset.name for dataset in datasets)
    yield (
        "definitions",
        bool(datasets),
        names or f"no dataset in {project}; add datasets/<name>/defs.yaml (see README.md)",
    )
    for dataset in datasets:
        try:
            yield f"dataset {dataset.name}", True, _open(dataset, settings)
        except Exception as error:  # after an error in one dataset, check the next one
            message = one_line(error).removeprefix(f"dataset {dataset.name}: ")
            yield f"dataset {dataset.name}", False, message


def _open(dataset: Dataset, settings: Settings) -> str:
    """Open the target and the source of `dataset`; return a description of its columns."""
    with closing(open_target(dataset, settings, "doctor")):
        pass
    with closing(open_source(dataset, settings)) as source:
        shape = source.shape
    return f"{len(shape.columns)} columns, day column {shape.day_column} ({shape.day_type.value})"


if __name__ == "__main__":
    main()
