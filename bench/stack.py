"""A fresh stack for one case, and helpers that prepare its databases outside the measurements."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from psycopg2 import sql

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import StackError, TargetError
from sync_pipeline.local.stack import DAGSTER_HOME, prepare_databases
from sync_pipeline.settings import DATA_DIR, DATABASE_URL, Settings
from sync_pipeline.sources import open_source
from sync_pipeline.targets import open_target
from sync_pipeline.targets.names import identifier
from sync_pipeline.targets.postgres import Target


@contextmanager
def fresh_stack() -> Iterator[Settings]:
    """Yield the settings for a temporary embedded PostgreSQL with full durability.

    Ignores environment settings for other databases and projects, so that every run measures the
    same thing.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SYNC_") and name != DAGSTER_HOME
    }
    with (
        tempfile.TemporaryDirectory(prefix="sync-pipeline-bench-") as folder,
        prepare_databases(Settings({**environment, DATA_DIR: folder})) as settings,
    ):
        yield settings


def run_sql(url: str, *statements: str | sql.Composable) -> None:
    """Run statements in the database at `url`, each in its own transaction."""
    connection = connect(
        url, setting=DATABASE_URL, purpose="bench", error=TargetError, autocommit=True
    )
    with closing(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def query_one(url: str, query: str, values: Sequence[object]) -> tuple[Any, ...]:
    """Run `query` in the database at `url`; return its row. Raises StackError if there is none."""
    connection = connect(url, setting=DATABASE_URL, purpose="bench", error=TargetError)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    if row is None:
        raise StackError(f"the query returned no row: {query}")
    return row


def make_target_table(settings: Settings, dataset: Dataset) -> None:
    """Create the target table as a sync would, so that both sides load into identical tables."""
    source = open_source(dataset, settings)
    with closing(source), closing(open_target(dataset, settings)) as connection:
        Target(connection, dataset).prepare(source.shape)


def empty(settings: Settings, dataset: Dataset) -> None:
    """Truncate the dataset's target table, compute statistics and run a checkpoint.

    Otherwise, the first measurement after an automatic checkpoint would differ from the others, and
    so would those in the first minute of the database, before autovacuum computes statistics.
    """
    statement = sql.SQL("TRUNCATE {}").format(identifier(dataset))
    run_sql(settings.database_url, statement, "ANALYZE", "CHECKPOINT")
