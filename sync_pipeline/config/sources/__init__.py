"""The keys of each source type, under `source:` in a `defs.yaml`.

Does not read rows: see the package `sync_pipeline.sources`. Loading a dataset's configuration
therefore imports none of the libraries that the sources need.
"""

from typing import Annotated

from sync_pipeline.config.sources.files import FilesSource as FilesSource
from sync_pipeline.config.sources.postgres import PostgresSource as PostgresSource
from sync_pipeline.config.sources.python import PythonSource as PythonSource
from sync_pipeline.config.sources.rest import RestSource as RestSource
from sync_pipeline.config.sources.sql import SqlSource as SqlSource
from sync_pipeline.config.sources.strict_model import by_type

AnySource = Annotated[
    PostgresSource | SqlSource | FilesSource | RestSource | PythonSource,
    by_type(PostgresSource, SqlSource, FilesSource, RestSource, PythonSource, default="postgres"),
]
"""The keys of any source type; `type` defaults to `postgres`."""
