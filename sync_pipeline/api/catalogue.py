"""Reads the datasets from Dagster's asset metadata.

If Dagster does not respond, the last known datasets are used. Does not read `defs.yaml` files: see
`orchestration/project.py`.
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

_TTL_SECONDS = 10.0
_TIMEOUT_SECONDS = 10.0
_ASSETS = """{ assetNodes { metadataEntries {
    label ... on JsonMetadataEntry { jsonString } } } }"""
_logger = logging.getLogger(__name__)


class Catalogue:
    """The datasets of one Dagster deployment, cached for a few seconds."""

    def __init__(self, dagster: Dagster) -> None:
        self._cache = BackgroundCache(
            lambda: _fetch(dagster), f"Dagster at {dagster.url}", ttl_seconds=_TTL_SECONDS
        )

    def refresh(self) -> None:
        """Start reading the datasets in the background."""
        self._cache.refresh()

    def datasets(self) -> Sequence[Dataset]:
        """Return the datasets, sorted by name. Raises StackError if none have been read yet."""
        return self._cache.get()

    def find(self, name: str | None) -> Dataset:
        """Return the dataset called `name`, or the only dataset if `name` is None.

        Raises RequestError if there is no such dataset, or StackError if none have been read yet.
        """
        return find_dataset(self.datasets(), name)

    def bounds(self, name: str) -> tuple[date, date] | None:
        """Return a dataset's first day and last complete calendar day, or None if unknown."""
        try:
            found = [dataset for dataset in self.datasets() if dataset.name == name]
        except StackError:
            return None
        return bounds_of(found[0]) if found else None


def bounds_of(dataset: Dataset) -> tuple[date, date]:
    """Return a dataset's first day and last complete calendar day."""
    return dataset.start_date, dataset.last_day(datetime.now(timezone.utc))


def _fetch(dagster: Dagster) -> list[Dataset]:
    try:
        response = dagster.graphql(_ASSETS, timeout_seconds=_TIMEOUT_SECONDS)
    except StackError as error:
        _logger.warning("cannot refresh the datasets: %s", one_line(error))
        raise
    documents = [
        entry["jsonString"]
        for node in response["assetNodes"]
        for entry in node["metadataEntries"]
        if entry["label"] == DATASET_METADATA
    ]
    try:
        datasets = [Dataset.model_validate(json.loads(text)) for text in documents]
    except ValidationError:
        raise StackError(
            "Dagster runs a different version of sync-pipeline, so its datasets cannot be read; "
            "run Dagster and the API from the same installation"
        ) from None
    return sorted(datasets, key=lambda dataset: dataset.name)
