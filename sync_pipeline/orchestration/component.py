"""`type: sync_pipeline.DailySync`: what a `defs.yaml` under `datasets/` becomes.

The asset, its job and, if the YAML asks for one, its schedule. The keys, their types and defaults
are those of `DatasetSettings`. The name of the dataset is the name of the file's folder.
"""

import dagster as dg
from pydantic import BaseModel, ValidationError

from sync_pipeline.dataset import Dataset, DatasetSettings
from sync_pipeline.errors import SettingError
from sync_pipeline.orchestration import identity
from sync_pipeline.orchestration.asset import build_asset
from sync_pipeline.orchestration.schedule import build_schedule


class DailySync(dg.Component):
    """Syncs one dataset into PostgreSQL, day by day, each day recorded in daily_sync_status."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML's `attributes`."""
        return DatasetSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "DailySync":
        """Return the component for a `defs.yaml`. Raises SettingError for a bad folder name."""
        assert isinstance(attributes, DatasetSettings)  # noqa: S101  Dagster validated it
        try:
            return cls(Dataset(name=context.path.name, **dict(attributes)))
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingError(
                f"dataset folder {context.path.name!r}: {reason}; rename the folder"
            ) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's asset, job and schedule."""
        asset = build_asset(self.dataset)
        job = dg.define_asset_job(
            identity.job_name_of(self.dataset.name),
            selection=[asset],
            description=f"Sync days of {self.dataset.name}.",
        )
        schedule = self.dataset.schedule
        return dg.Definitions(
            assets=[asset],
            jobs=[job],
            schedules=[build_schedule(self.dataset, schedule, job)] if schedule else [],
        )
