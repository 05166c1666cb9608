"""Loads a million Arrow rows into PostgreSQL with one method; prints the duration in seconds.

Runs under the Python interpreter of the peers' virtual environment, as
`arrow_child.py pgpq|csv|adbc URL`: pgpq's binary COPY, a COPY of pyarrow's CSV, or
adbc-driver-postgresql, which uses its own connection.
"""

import io
import random
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta

import adbc_driver_postgresql.dbapi
import pgpq
import psycopg2
import pyarrow as pa
from pyarrow import csv

ROWS = 1_000_000
ROWS_PER_CHUNK = 16_384
TABLE = """CREATE TABLE arrow_rows (id bigint, day date, at timestamp, n integer,
    x double precision, name text, note text, flag boolean)"""


def rows() -> pa.Table:
    """Return the rows, which have eight columns."""
    some = random.Random(1)
    begin = datetime(2024, 1, 1)
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "day": pa.array([date(2024, 1, 1)] * ROWS),
            "at": pa.array([begin + timedelta(microseconds=7 * n) for n in range(ROWS)]),
            "n": pa.array([n % 1000 for n in range(ROWS)], pa.int32()),
            "x": pa.array([some.random() for _ in range(ROWS)]),
            "name": pa.array([f'name {n} "x", y' for n in range(ROWS)]),
            "note": pa.array([None if n % 3 else "some text here" for n in range(ROWS)]),
            "flag": pa.array([n % 2 == 0 for n in range(ROWS)]),
        }
    )


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return next((chunk for chunk in self._chunks if chunk), b"")


def _binary(table: pa.Table) -> Iterator[bytes]:
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    yield encoder.write_header()
    for batch in table.to_batches(max_chunksize=ROWS_PER_CHUNK):
        yield encoder.write_batch(batch)
    yield encoder.finish()


def _csv(table: pa.Table) -> Iterator[bytes]:
    options = csv.WriteOptions(include_header=False)
    for batch in table.to_batches(max_chunksize=ROWS_PER_CHUNK):
        out = io.BytesIO()
        csv.write_csv(batch, out, options)
        yield out.getvalue()


def main(method: str, url: str) -> None:
    """Load the rows and print the duration in seconds."""
    table = rows()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS arrow_rows; {TABLE}")
        connection.commit()
        if method == "adbc":
            with adbc_driver_postgresql.dbapi.connect(url) as peer, peer.cursor() as ingesting:
                started = time.monotonic()
                batches = table.to_reader(max_chunksize=ROWS_PER_CHUNK)
                ingesting.adbc_ingest("arrow_rows", batches, mode="append")
                peer.commit()
                seconds = time.monotonic() - started
        else:
            chunks, name = (_binary, "binary") if method == "pgpq" else (_csv, "csv")
            started = time.monotonic()
            # The size must exceed that of any chunk, because read() always returns a whole chunk.
            reader = _Chunks(chunks(table))
            cursor.copy_expert(f"COPY arrow_rows FROM STDIN (FORMAT {name})", reader, size=1 << 26)
            connection.commit()
            seconds = time.monotonic() - started
        cursor.execute("SELECT count(*) FROM arrow_rows")
        assert cursor.fetchone() == (ROWS,)
        print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
