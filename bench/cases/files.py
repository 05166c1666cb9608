"""One large day from a file: the cost of reading and tracking, compared with other tools."""

from collections.abc import Callable

from bench import peers, wide_rows
from bench.one_day import sync_day
from bench.pairs import measure_pairs, ratio, raw
from bench.psql_pipe import copy_file
from bench.results import Log, Result
from bench.stack import empty, make_target_table, query_one
from bench.wide_files import dataset, export_files, file_in
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import StackError
from sync_pipeline.settings import Settings

FILES_VS_PSQL = "files_vs_psql"
FILES_VS_DUCKDB = "files_vs_duckdb"
_GOAL = 2.0
_PAIRS = 7
_ROWS = 1_000_000
_DAY = wide_rows.DAY
_WHERE = f"{wide_rows.DAY_COLUMN} >= '{_DAY}' AND {wide_rows.DAY_COLUMN} < date '{_DAY}' + 1"


def against_psql(settings: Settings, log: Log) -> Result:
    """Compare `sync_days` with psql's ``\\copy`` when loading a CSV file."""

    def copy(file: str, table: str) -> float:
        return copy_file(file, settings.database_url, into=table, where=_WHERE)

    against = "psql's \\copy of the file, the same delete"
    return _measure(settings, log, FILES_VS_PSQL, "csv", against, copy)


def against_duckdb(settings: Settings, log: Log) -> Result:
    """Compare `sync_days` with DuckDB, which uses a binary COPY, when loading a Parquet file."""

    def insert(file: str, table: str) -> float:
        command = [peers.python(), peers.DUCKDB, file, settings.database_url, table, _WHERE]
        return float(peers.run(command)[1])

    against = "DuckDB's INSERT of the file, the same delete"
    return _measure(settings, log, FILES_VS_DUCKDB, "parquet", against, insert)


def _measure(
    settings: Settings,
    log: Log,
    case: str,
    ending: str,
    against: str,
    load: Callable[[str, str], float],
) -> Result:
    log(f"creating files with {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    with export_files(settings) as folder:
        synced = dataset("orders_synced", folder, ending)
        peer = dataset("orders_copied", folder, ending)
        for each in (synced, peer):
            make_target_table(settings, each)

        def with_product() -> float:
            empty(settings, synced)
            return sync_day(synced, _DAY, settings, _ROWS)

        def with_peer() -> float:
            empty(settings, peer)
            seconds = load(file_in(folder, ending), peer.target.table)
            _check(settings, peer)
            return seconds

        pairs = measure_pairs(_PAIRS, with_product, with_peer, log)
    return Result(
        case,
        f"one {ending} file with a day of {_ROWS:,} rows: sync_days, with tracking",
        against,
        ratio(pairs),
        _GOAL,
        raw(pairs),
    )


def _check(settings: Settings, peer: Dataset) -> None:
    """Raise StackError unless the peer loaded all rows."""
    found = query_one(settings.database_url, f"SELECT count(*) FROM {peer.target.table}", [])
    if found != (_ROWS,):
        raise StackError(f"{peer.target.table} has {found[0]} rows, expected {_ROWS}")
