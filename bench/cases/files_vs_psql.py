"""One large day from a CSV file: what reading it and tracking cost beside psql's own ``\\copy``."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench import wide_rows
from bench.one_day import sync_day
from bench.pairs import measure_pairs, ratio, raw
from bench.psql_pipe import copy_file, write_file
from bench.results import Result, Say
from bench.stack import empty, make_target_table
from sync_pipeline.dataset import Dataset, PostgresTarget
from sync_pipeline.settings import SOURCE_URL, Settings
from sync_pipeline.sources.keys import FilesSource

CASE = "files_vs_psql"
_GOAL = 2.0
_PAIRS = 7
_PARQUET_TURNS = 3
_ROWS = 1_000_000
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


def measure(settings: Settings, say: Say) -> Result:
    """Measure a CSV of 1,000,000 rows through `sync_days` against psql's ``\\copy`` of it, and
    afterwards, for comparison, the same rows as Parquet."""
    with _files(settings, say) as folder:
        synced = _dataset("orders_synced", f"{folder}/{{day}}.csv", _COLUMNS)
        parquet = _dataset("orders_parquet", f"{folder}/{{day}}.parquet", None)
        copied = _dataset("orders_copied", f"{folder}/{{day}}.csv", _COLUMNS)
        for dataset in (synced, parquet, copied):
            make_target_table(settings, dataset)
        file, day = f"{folder}/{wide_rows.DAY}.csv", wide_rows.DAY
        where = f"{wide_rows.DAY_COLUMN} >= '{day}' AND {wide_rows.DAY_COLUMN} < '{day}'::date + 1"

        def through_the_product(dataset: Dataset = synced) -> float:
            empty(settings, dataset)
            return sync_day(dataset, day, settings, _ROWS)

        def through_psql() -> float:
            empty(settings, copied)
            return copy_file(file, settings.database_url, into=copied.target.table, where=where)

        pairs = measure_pairs(_PAIRS, through_the_product, through_psql, say)
        parquet_seconds = [through_the_product(parquet) for _ in range(_PARQUET_TURNS)]
    figures = raw(pairs)
    return Result(
        CASE,
        f"one CSV day of {_ROWS:,} rows: sync_days, tracked",
        "psql's \\copy of the file, the same delete",
        ratio(pairs),
        _GOAL,
        {**figures, "parquet_seconds": float(f"{median(parquet_seconds):.4g}")},
    )


@contextmanager
def _files(settings: Settings, say: Say) -> Iterator[Path]:
    """Yield a folder with the day as CSV, as psql writes it, and as Parquet."""
    say(f"making files of {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-bench-files-") as name:
        path = Path(name) / f"{wide_rows.DAY}.csv"
        write_file(str(path), settings.postgres_url(SOURCE_URL), wide_rows.SOURCE_TABLE)
        typed = pacsv.ConvertOptions(column_types=_ARROW)
        pq.write_table(pacsv.read_csv(path, convert_options=typed), path.with_suffix(".parquet"))
        yield path.parent


def _dataset(name: str, path: str, columns: dict[str, str] | None) -> Dataset:
    return Dataset(
        name=name,
        start_date=wide_rows.DAY,
        source=FilesSource(path=path, columns=columns, day_column=wide_rows.DAY_COLUMN),
        target=PostgresTarget(table=name),
    )
