"""The Dagster component `sync_pipeline.DailySync`, which a dataset's `defs.yaml` configures.

Builds the asset, its job and, if the YAML contains a `schedule`, the schedule. The name of the
dataset is the name of the file's folder. Reports an error in a `defs.yaml` on one line, where
Dagster would print many. Does not define the keys: see `config/dataset.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from sync_pipeline.config.dataset import Dataset, DatasetSettings
from sync_pipeline.dagster_client import tags
from sync_pipeline.errors import SettingError, SyncError, one_line
from sync_pipeline.orchestration.asset import build_asset
from sync_pipeline.orchestration.schedule import build_schedule


class DailySync(dg.Component):
    """Syncs a dataset into PostgreSQL day by day, and records each day in daily_sync_status."""

    def __init__(self, dataset: Dataset, file: Path) -> None:
        self.dataset = dataset
        self.file = file

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model for `attributes` in the YAML."""
        return DatasetSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "DailySync":
        """Return the component for a `defs.yaml`.

        Raises SettingError if `attributes` is missing or the folder name is not valid.
        """
        file = context.path / "defs.yaml"
        # Dagster has validated the attributes, if there are any.
        if not isinstance(attributes, DatasetSettings):
            required = [
                name for name, key in DatasetSettings.model_fields.items() if key.is_required()
            ]
            raise SettingError(f"{file}: attributes: missing; required keys: {', '.join(required)}")
        try:
            return cls(Dataset(name=context.path.name, **dict(attributes)), file)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingError(
                f"dataset folder {context.path.name!r}: {reason}; rename the folder"
            ) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's asset, its job and, if configured, its schedule."""
        asset = build_asset(self.dataset)
        job = dg.define_asset_job(
            tags.job_name_of(self.dataset.name),
            selection=[asset],
            description=f"Sync days of the dataset {self.dataset.name}.",
        )
        schedule = self.dataset.schedule
        return dg.Definitions(
            assets=[asset],
            jobs=[job],
            schedules=[build_schedule(self.dataset, schedule, job)] if schedule else [],
        )


@contextmanager
def translate_load_errors(project: Path) -> Iterator[None]:
    """Convert any error raised in the block, which loads the project, to a one-line SettingError.

    If the cause is in a `defs.yaml`, the message names the file and the key, and says what is
    allowed.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, (SyncError, ValidationError)):
            cause = cause.__cause__
        # The Dagster UI shows the innermost error first, so drop it if the message is sufficient.
        if isinstance(cause, SyncError):
            raise cause from None
        if isinstance(cause, ValidationError):
            raise SettingError(_describe(cause)) from None
        raise SettingError(
            f"the definitions in {project} cannot be loaded: {one_line(cause)} "
            "(run 'dg check yaml' and 'dg check defs' in that folder to find the file)"
        ) from error


def _describe(error: ValidationError) -> str:
    """Return a message with the file, the line, the invalid keys and what is allowed for each.

    If a key's type is a union, the errors for its branches are joined.
    """
    allowed: dict[str, list[str]] = {}
    details = error.errors(include_url=False, include_input=False)  # the input may contain a secret
    for detail in details:
        allowed.setdefault(_key_of(detail), []).append(_allowed(detail))
    keys = "; ".join(f"{key}: {', or '.join(texts)}" for key, texts in allowed.items())
    position = details[0].get("ctx", {}).get("source_position")
    return f"{position.filename}, line {position.start.line}: {keys}" if position else keys


def _key_of(detail: Any) -> str:
    """Return the key that an error is about, without the union branch that pydantic appends."""
    path = str(detail["loc"][0]).partition(" at ")[0].split(".")
    known = len(detail.get("ctx", {}).get("source_position_path", path))
    if detail["type"] == "missing":
        known += 1
    return ".".join(path[:known]).removeprefix("attributes.")


def _allowed(detail: Any) -> str:
    if detail["type"] == "missing":
        return "required, but missing"
    if detail["type"] == "extra_forbidden":  # StrictModel reports its unknown keys itself
        return "unknown key; a defs.yaml contains type and attributes"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text.replace("Input should be", "must be")
