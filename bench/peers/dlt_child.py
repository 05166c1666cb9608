"""Copies a whole table with dlt, in the fastest way: reads Arrow, and loads CSV with COPY.

Runs under the Python interpreter of the peers' virtual environment; prints the duration of dlt's
run in seconds, excluding imports.
"""

import os
import sys
import tempfile
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"

import dlt
from dlt.sources.sql_database import sql_table


def main(source: str, target: str, table: str) -> None:
    """Copy `table` and print the duration in seconds."""
    # dlt requires a host and a password, even if the server needs neither.
    target = target.replace("postgres@/", "postgres:none@localhost/")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.postgres(target),
            dataset_name="bench_dlt",
            pipelines_dir=folder,
        )
        rows = sql_table(
            credentials=source.replace("postgresql:", "postgresql+psycopg2:"),
            table=table,
            backend="pyarrow",
            chunk_size=100_000,
        )
        started = time.monotonic()
        done = pipeline.run(rows, write_disposition="replace", loader_file_format="csv")
        done.raise_on_failed_jobs()
        print(time.monotonic() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
