"""Load the definitions and look at each dataset's source and target; for `sync-pipeline doctor`.

Started as a process of its own, because it imports dagster. One JSON object a line on standard
output: what was looked at, whether it is well, what was found.
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
    """Print the findings."""
    for what, well, said in _findings(current_settings()):
        print(json.dumps({"what": what, "well": well, "said": said}), flush=True)  # noqa: T201


def _findings(environment: Settings) -> Iterator[tuple[str, bool, str]]:
    from sync_pipeline.orchestration.component import loading
    from sync_pipeline.orchestration.project import build_defs, load_datasets

    project = environment.project_dir
    try:
        with loading(project):
            build_defs(project)
            datasets = load_datasets(project)
    except SyncError as error:
        yield "definitions", False, one_line(error)
        return
    names = ", ".join(dataset.name for dataset in datasets)
    yield (
        "definitions",
        bool(datasets),
        names or f"no dataset in {project}; add datasets/<name>/defs.yaml (see the README)",
    )
    for dataset in datasets:
        try:
            yield f"dataset {dataset.name}", True, _look(dataset, environment)
        except Exception as error:  # whatever it is, the next dataset is looked at
            said = one_line(error).removeprefix(f"dataset {dataset.name}: ")
            yield f"dataset {dataset.name}", False, said


def _look(dataset: Dataset, environment: Settings) -> str:
    with closing(open_target(dataset, environment, "doctor")):
        pass
    with closing(open_source(dataset, environment)) as source:
        shape = source.shape
    return f"{len(shape.columns)} columns, days by {shape.day_column} ({shape.day_type.value})"


if __name__ == "__main__":
    main()
