"""A year from one file: 365 days, each with its own transaction and record.

For one large day from a file, see `files.py`.
"""

from datetime import timedelta

from bench import wide_rows
from bench.one_day import sync_each_day
from bench.pairs import Pair, measure_pairs, ratio, raw
from bench.psql_pipe import copy_file
from bench.results import Log, Result
from bench.stack import empty, make_target_table
from bench.wide_files import YEAR, dataset, export_files, file_in
from sync_pipeline.settings import Settings

CASE = "file_of_days"
_GOAL = 3.0
_PAIRS = 3
_ROWS = 1_000_000
_DAYS = [wide_rows.DAY + timedelta(days=n) for n in range(365)]
_WHERE = f"{wide_rows.DAY_COLUMN} BETWEEN '{_DAYS[0]}' AND '{_DAYS[-1]}'"


def measure(settings: Settings, log: Log) -> Result:
    """Compare 365 days from one file, CSV and Parquet, with psql's ``\\copy`` of the CSV file."""
    log(f"creating files with {_ROWS:,} rows")
    wide_rows.make_day(settings, _ROWS)
    pairs = {ending: _measure(settings, log, ending) for ending in ("csv", "parquet")}
    slower = max(pairs, key=lambda ending: ratio(pairs[ending]))
    other = {f"{ending}_ratio": round(ratio(found), 3) for ending, found in pairs.items()}
    return Result(
        CASE,
        f"365 days, {_ROWS:,} rows, from one {slower} file: sync_days, with tracking",
        "psql's \\copy of the CSV file at once, the same delete",
        ratio(pairs[slower]),
        _GOAL,
        {**raw(pairs[slower]), **other},
    )


def _measure(settings: Settings, log: Log, ending: str) -> list[Pair]:
    with export_files(settings, YEAR) as folder:
        synced = dataset(f"year_synced_{ending}", folder, ending, str(wide_rows.DAY))
        peer = dataset(f"year_copied_{ending}", folder, ending, str(wide_rows.DAY))
        for each in (synced, peer):
            make_target_table(settings, each)

        def with_product() -> float:
            empty(settings, synced)
            return sync_each_day(synced, _DAYS, settings, _ROWS)

        def with_psql() -> float:
            empty(settings, peer)
            file, url = file_in(folder, "csv"), settings.database_url
            return copy_file(file, url, into=peer.target.table, where=_WHERE)

        return measure_pairs(_PAIRS, with_product, with_psql, log)
