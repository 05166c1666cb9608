"""Replaces a day's rows with those of a Parquet file, using DuckDB's PostgreSQL extension.

Runs under the Python interpreter of the peers' virtual environment; prints the seconds from
DuckDB's start to the commit, excluding imports.
"""

import sys
import time

import duckdb
from duckdb_extensions import import_extension


def main(file: str, target: str, table: str, where: str) -> None:
    """Replace the rows that match `where` in one transaction; print the duration in seconds."""
    import_extension("postgres_scanner")  # from a Python package, not downloaded
    started = time.monotonic()
    with duckdb.connect() as duck:
        duck.execute(f"LOAD postgres_scanner; ATTACH '{target}' AS target (TYPE postgres)")
        duck.execute("BEGIN")
        duck.execute("CALL postgres_execute('target', ?)", [f"DELETE FROM {table} WHERE {where}"])
        duck.execute(f"INSERT INTO target.{table} SELECT * FROM read_parquet('{file}')")
        duck.execute("COMMIT")
    print(time.monotonic() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
