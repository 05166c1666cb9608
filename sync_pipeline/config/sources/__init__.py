"""The keys of each kind of source, as they stand under `source:` in a `defs.yaml`.

They are apart from the sources themselves, so that reading a dataset imports none of the
libraries that sources need.
"""

from typing import Annotated

from sync_pipeline.config.sources.common import by_type
from sync_pipeline.config.sources.files import FilesSource as FilesSource
from sync_pipeline.config.sources.postgres import PostgresSource as PostgresSource
from sync_pipeline.config.sources.python import PythonSource as PythonSource
from sync_pipeline.config.sources.rest import RestSource as RestSource
from sync_pipeline.config.sources.sql import SqlSource as SqlSource

AnySource = Annotated[
    PostgresSource | SqlSource | FilesSource | RestSource | PythonSource,
    by_type(PostgresSource, SqlSource, FilesSource, RestSource, PythonSource, default="postgres"),
]
"""Any of them; without a `type` it is PostgreSQL."""
