"""The keys of each kind of source, as they stand under `source:` in a `defs.yaml`.

They are apart from the sources themselves, so that reading a dataset imports none of the
libraries that sources need.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from sync_pipeline.sources.keys.files import FilesSource as FilesSource
from sync_pipeline.sources.keys.postgres import PostgresSource as PostgresSource
from sync_pipeline.sources.keys.python import PythonSource as PythonSource
from sync_pipeline.sources.keys.rest import RestSource as RestSource
from sync_pipeline.sources.keys.sql import SqlSource as SqlSource

DEFAULT_KIND = "postgres"


def _kind(given: Any) -> str | None:
    """Return which kind of source is meant; None for what is no mapping."""
    if isinstance(given, dict):
        return str(given.get("type", DEFAULT_KIND))
    return getattr(given, "type", None)


KINDS = ("postgres", "sql", "files", "rest", "python")
AnySource = Annotated[
    Annotated[PostgresSource, Tag("postgres")]
    | Annotated[SqlSource, Tag("sql")]
    | Annotated[FilesSource, Tag("files")]
    | Annotated[RestSource, Tag("rest")]
    | Annotated[PythonSource, Tag("python")],
    Discriminator(
        _kind,
        custom_error_type="unknown_source",
        custom_error_message=f"must be a mapping whose type is one of {', '.join(KINDS)}",
    ),
]
"""Any of them; without a `type` it is PostgreSQL."""
