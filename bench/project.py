"""A temporary project for the benchmarks' datasets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import PROJECT_DIR, Settings

_PACKAGE = "bench_project"
_PYPROJECT = f"""\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{_PACKAGE}"
defs_module = "{_PACKAGE}.datasets"
"""


@contextmanager
def create_project(datasets: list[Dataset], settings: Settings) -> Iterator[Settings]:
    """Yield a copy of `settings` for a temporary project that contains `datasets`."""
    with TemporaryDirectory(prefix="sync-pipeline-bench-project-") as folder:
        (Path(folder) / "pyproject.toml").write_text(_PYPROJECT)
        package = Path(folder) / _PACKAGE
        for module in (package, package / "datasets"):
            module.mkdir()
            (module / "__init__.py").touch()
        for dataset in datasets:
            _write(dataset, package / "datasets" / dataset.name)
        yield Settings({**settings.environment, PROJECT_DIR: folder})


def _write(dataset: Dataset, folder: Path) -> None:
    folder.mkdir()
    attributes = dataset.as_json()
    del attributes["name"]  # the folder's name is the dataset's name
    component = {"type": "sync_pipeline.DailySync", "attributes": attributes}
    # JSON is valid YAML.
    (folder / "defs.yaml").write_text(json.dumps(component))
