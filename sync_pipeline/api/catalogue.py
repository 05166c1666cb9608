"""The datasets, as Dagster knows them: what their `defs.yaml` say is in their assets' metadata.

What was known last stands while Dagster does not answer, and until it has.
"""

import json
import logging
from collections.abc import Sequence
from datetime import date, datetime, timezone

from pydantic import ValidationError

from sync_pipeline.api.background_cache import BackgroundCache
from sync_pipeline.config.dataset import Dataset, find_dataset
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.dagster_client.tags import DATASET_METADATA
from sync_pipeline.errors import StackError, one_line

_KEPT_SECONDS = 10.0
_TIMEOUT_SECONDS = 10.0
_ASSETS = """{ assetNodes { metadataEntries {
    label ... on JsonMetadataEntry { jsonString } } } }"""
_logger = logging.getLogger(__name__)


class Catalogue:
    """The datasets of a Dagster, asked for again after some seconds."""

    def __init__(self, dagster: Dagster) -> None:
        self._asked = BackgroundCache(
            lambda: _ask(dagster), f"Dagster at {dagster.url}", kept_seconds=_KEPT_SECONDS
        )

    def look(self) -> None:
        """Ask for the datasets before anybody needs them."""
        self._asked.begin()

    def datasets(self) -> Sequence[Dataset]:
        """Return the datasets by name. Raises StackError while Dagster has never answered."""
        return self._asked.get()

    def find(self, name: str | None) -> Dataset:
        """Return the dataset called `name`, or the only one. Raises RequestError, StackError."""
        return find_dataset(self.datasets(), name)

    def bounds(self, name: str) -> tuple[date, date] | None:
        """Return the first and the last finished day of a dataset; None if it is not known."""
        try:
            found = [dataset for dataset in self.datasets() if dataset.name == name]
        except StackError:
            return None
        return bounds_of(found[0]) if found else None


def bounds_of(dataset: Dataset) -> tuple[date, date]:
    """Return the first and the last finished day of a dataset."""
    return dataset.start_date, dataset.last_day(datetime.now(timezone.utc))


def _ask(dagster: Dagster) -> list[Dataset]:
    try:
        answer = dagster.graphql(_ASSETS, timeout_seconds=_TIMEOUT_SECONDS)
    except StackError as error:
        _logger.warning("the datasets are not known anew: %s", one_line(error))
        raise
    found = [
        entry["jsonString"]
        for node in answer["assetNodes"]
        for entry in node["metadataEntries"]
        if entry["label"] == DATASET_METADATA
    ]
    try:
        datasets = [Dataset.model_validate(json.loads(text)) for text in found]
    except ValidationError:
        raise StackError(
            "Dagster runs another version of sync-pipeline, whose datasets this one cannot read; "
            "start both from the same installation"
        ) from None
    return sorted(datasets, key=lambda dataset: dataset.name)
