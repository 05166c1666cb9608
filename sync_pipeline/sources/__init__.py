"""Data sources: one package or module per source type, and `open_source`.

A source type is imported only when a dataset uses it. Its additional dependencies are in the
package extra with the same name. Does not define the YAML keys of a source: see `config/sources/`.
"""

from typing import TYPE_CHECKING

from sync_pipeline.config.sources import (
    FilesSource,
    PostgresSource,
    PythonSource,
    RestSource,
    SqlSource,
)
from sync_pipeline.errors import SettingError

if TYPE_CHECKING:
    from sync_pipeline.config.dataset import Dataset
    from sync_pipeline.settings import Settings
    from sync_pipeline.sources.base import Source


def open_source(dataset: "Dataset", settings: "Settings") -> "Source":
    """Connect to the dataset's source, read and check its shape, and return the source.

    Raises SettingError if a required setting or library is missing, SourceError if the source
    cannot be reached or does not match the dataset, and NotReadyError if there is no file yet to
    read the columns from. The caller must close the source.
    """
    try:
        return _open(dataset, settings)
    except ImportError as error:
        if not error.name or error.name.startswith("sync_pipeline"):
            raise
        kind = dataset.source.type
        raise SettingError(
            f"dataset {dataset.name}: a source of type {kind} needs {error.name}, which is not "
            f"installed; install the extra {kind!r} (in a checkout: pip install -e '.[{kind}]')"
        ) from error


def _open(dataset: "Dataset", settings: "Settings") -> "Source":
    keys = dataset.source
    if isinstance(keys, PostgresSource):
        from sync_pipeline.sources.postgres.source import PostgresReader

        return PostgresReader(dataset, keys, settings.postgres_url(keys.url_env))
    from sync_pipeline.sources.arrow.source import ArrowReader

    if isinstance(keys, PythonSource):
        from sync_pipeline.sources.python import PythonRows

        return ArrowReader(dataset, PythonRows(dataset, keys))
    if isinstance(keys, FilesSource):
        from sync_pipeline.sources.files.source import FileRows

        return ArrowReader(dataset, FileRows(dataset, keys, settings))
    if isinstance(keys, SqlSource):
        from sync_pipeline.sources.sql.source import SqlRows

        what = "a SQLAlchemy URL, such as mysql+pymysql://user:password@host/database"
        return ArrowReader(dataset, SqlRows(dataset, keys, settings.require(keys.url_env, what)))
    if isinstance(keys, RestSource):
        from sync_pipeline.sources.rest.source import RestRows

        return ArrowReader(dataset, RestRows(dataset, keys, settings))
    raise AssertionError(keys)
