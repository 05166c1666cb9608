"""Where rows come from: one file per kind of source, and the protocol they all follow."""

from sync_pipeline.dataset import Dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sources.base import Source
from sync_pipeline.sources.postgres import PostgresReader


def open_source(dataset: Dataset, settings: Settings) -> Source:
    """Return the dataset's source, connected, its shape read and checked.

    Raises SettingError if its URL is not set, SourceError if it cannot be reached or does not
    hold what the dataset names. The caller closes it.
    """
    return PostgresReader(dataset, settings.postgres_url(dataset.source.url_env))
