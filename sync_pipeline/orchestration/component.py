"""`type: sync_pipeline.DailySync`: what a `defs.yaml` under `datasets/` becomes.

The asset, its job and, if the YAML asks for one, its schedule. The keys, their types and defaults
are those of `DatasetSettings`. The name of the dataset is the name of the file's folder. What is
wrong in a `defs.yaml` is said here in one line; Dagster says it in many.
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
    """Syncs one dataset into PostgreSQL, day by day, each day recorded in daily_sync_status."""

    def __init__(self, dataset: Dataset, file: Path) -> None:
        self.dataset = dataset
        self.file = file

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML's `attributes`."""
        return DatasetSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "DailySync":
        """Return the component for a `defs.yaml`. Raises SettingError for a bad folder name."""
        file = context.path / "defs.yaml"
        if not isinstance(attributes, DatasetSettings):  # validated by Dagster, if there are any
            required = [
                name for name, key in DatasetSettings.model_fields.items() if key.is_required()
            ]
            raise SettingError(
                f"{file}: attributes: required, and missing; at least "
                f"{', '.join(required)} stand under it"
            )
        try:
            return cls(Dataset(name=context.path.name, **dict(attributes)), file)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingError(
                f"dataset folder {context.path.name!r}: {reason}; rename the folder"
            ) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's asset, job and schedule."""
        asset = build_asset(self.dataset)
        job = dg.define_asset_job(
            tags.job_name_of(self.dataset.name),
            selection=[asset],
            description=f"Sync days of {self.dataset.name}.",
        )
        schedule = self.dataset.schedule
        return dg.Definitions(
            assets=[asset],
            jobs=[job],
            schedules=[build_schedule(self.dataset, schedule, job)] if schedule else [],
        )


@contextmanager
def loading(project: Path) -> Iterator[None]:
    """Let what goes wrong while the project's definitions load be a SettingError of one line.

    It names the file, the key and what is allowed, where the cause is in a `defs.yaml`.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, (SyncError, ValidationError)):
            cause = cause.__cause__
        # Without the stack where the text says all: Dagster's UI shows the innermost error first.
        if isinstance(cause, SyncError):
            raise cause from None
        if isinstance(cause, ValidationError):
            raise SettingError(_wrong_keys(cause)) from None
        raise SettingError(
            f"the definitions in {project} do not load: {one_line(cause)} "
            "('dg check yaml' and 'dg check defs' in that folder say where)"
        ) from error


def _wrong_keys(error: ValidationError) -> str:
    """Return where, which keys, and for each what is allowed: a union has several answers."""
    allowed: dict[str, list[str]] = {}
    details = error.errors(include_url=False, include_input=False)  # an input may be a secret
    for detail in details:
        allowed.setdefault(_key_of(detail), []).append(_allowed(detail))
    told = "; ".join(f"{key}: {', or '.join(texts)}" for key, texts in allowed.items())
    position = details[0].get("ctx", {}).get("source_position")
    return f"{position.filename}, line {position.start.line}: {told}" if position else told


def _key_of(detail: Any) -> str:
    """Return the key an error is about, without the branch of a union that pydantic adds to it."""
    path = str(detail["loc"][0]).partition(" at ")[0].split(".")
    known = len(detail.get("ctx", {}).get("source_position_path", path))
    if detail["type"] == "missing":
        known += 1
    return ".".join(path[:known]).removeprefix("attributes.")


def _allowed(detail: Any) -> str:
    if detail["type"] == "missing":
        return "required, and missing"
    if detail["type"] == "extra_forbidden":  # of our own models, the message names all keys
        return "not a key of a defs.yaml, which holds type and attributes"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text.replace("Input should be", "must be")
