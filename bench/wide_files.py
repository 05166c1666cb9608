"""A large day of `wide_rows` as files: CSV with a header, as exported by psql, and Parquet.

The rows can also be spread over a year.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench import wide_rows
from bench.psql_pipe import write_file
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.settings import SOURCE_URL, Settings

_COLUMNS = {
    "id": "bigint",
    "customer_id": "integer",
    "placed_on": "date",
    "placed_at": "timestamptz",
    "shipped_at": "timestamptz",
    "status": "text",
    "amount": "numeric(12,2)",
    "quantity": "integer",
    "product": "text",
    "note": "text",
}
_ARROW = {
    "id": pa.int64(),
    "customer_id": pa.int32(),
    "placed_on": pa.date32(),
    "placed_at": pa.timestamp("us", "UTC"),
    "shipped_at": pa.timestamp("us", "UTC"),
    "amount": pa.decimal128(12, 2),
    "quantity": pa.int32(),
}
_ROWS_PER_GROUP = 131_072
_DAY_OF_YEAR = "(365 * (id - 1) / count(*) OVER ())::integer"
YEAR = (
    f"(SELECT id, customer_id, {wide_rows.DAY_COLUMN} + {_DAY_OF_YEAR} AS {wide_rows.DAY_COLUMN}, "
    f"placed_at, shipped_at, status, amount, quantity, product, note FROM {wide_rows.SOURCE_TABLE} "
    "ORDER BY id)"
)
"""A query for the rows of the source table, spread over 365 days and sorted by day."""


@contextmanager
def export_files(settings: Settings, rows: str = wide_rows.SOURCE_TABLE) -> Iterator[Path]:
    """Yield a folder with `rows`, a table or a query in parentheses, in both formats."""
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-bench-files-") as name:
        path = Path(name) / f"{wide_rows.DAY}.csv"
        write_file(str(path), settings.postgres_url(SOURCE_URL), rows)
        _write_parquet(path)
        yield path.parent


def file_in(folder: Path, ending: str) -> str:
    """Return the path of the day's file; `ending` is `csv` or `parquet`."""
    return f"{folder}/{wide_rows.DAY}.{ending}"


def dataset(name: str, folder: Path, ending: str, file: str = "{day}") -> Dataset:
    """Return a dataset that syncs the file into a table of the same name."""
    return Dataset(
        name=name,
        start_date=wide_rows.DAY,
        source=FilesSource(
            path=f"{folder}/{file}.{ending}",
            columns=_COLUMNS if ending == "csv" else None,
            day_column=wide_rows.DAY_COLUMN,
        ),
        target=PostgresTarget(table=name),
    )


def _write_parquet(csv: Path) -> None:
    typed = pacsv.ConvertOptions(column_types=_ARROW)
    with (
        pacsv.open_csv(csv, convert_options=typed) as rows,
        pq.ParquetWriter(csv.with_suffix(".parquet"), rows.schema) as file,
    ):
        for batch in rows:
            file.write_batch(batch, row_group_size=_ROWS_PER_GROUP)
