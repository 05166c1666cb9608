"""The keys of each kind of source, as they stand under `source:` in a `defs.yaml`.

They are apart from the sources themselves, so that reading a dataset imports none of the
libraries that sources need.
"""

from typing import Annotated

from sync_pipeline.sources.keys.common import by_type
from sync_pipeline.sources.keys.files import FilesSource as FilesSource
from sync_pipeline.sources.keys.postgres import PostgresSource as PostgresSource
from sync_pipeline.sources.keys.python import PythonSource as PythonSource
from sync_pipeline.sources.keys.rest import RestSource as RestSource
from sync_pipeline.sources.keys.sql import SqlSource as SqlSource

AnySource = Annotated[
    PostgresSource | SqlSource | FilesSource | RestSource | PythonSource,
    by_type(PostgresSource, SqlSource, FilesSource, RestSource, PythonSource, default="postgres"),
]
"""Any of them; without a `type` it is PostgreSQL."""
