"""The baselines for one large day: `psql | psql`, and psql's `\\copy` from a file."""

import subprocess
import time

from bench.programs import program
from sync_pipeline.errors import StackError


def copy_day(source: str, target: str, *, select: str, into: str, where: str) -> float:
    """Replace the rows of `into` that match `where` with those that `select` returns.

    `into` is in the database `target`; `select` runs in the database `source`. Uses one
    transaction. Returns the duration in seconds. Raises StackError if one of the psql processes
    fails.
    """
    psql = (program("psql"), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1")
    out = ("--command", f"COPY ({select} WHERE {where}) TO STDOUT (FORMAT binary)")
    delete = ("--command", f"DELETE FROM {into} WHERE {where}")
    load = ("--command", f"COPY {into} FROM STDIN (FORMAT binary)")
    started = time.monotonic()
    with subprocess.Popen([*psql, *out, source], stdout=subprocess.PIPE) as reader:
        writer = subprocess.run(
            [*psql, "--single-transaction", *delete, *load, target],
            stdin=reader.stdout,
            check=False,
        )
    seconds = time.monotonic() - started
    if reader.returncode or writer.returncode:
        raise StackError(f"psql failed: reader {reader.returncode}, writer {writer.returncode}")
    return seconds


def write_file(path: str, source: str, table: str) -> None:
    """Export `table` in the database `source` to a CSV file with a header.

    Raises StackError if psql fails.
    """
    _run(source, f"\\copy {table} to '{path}' (format csv, header)")


def copy_file(path: str, target: str, *, into: str, where: str) -> float:
    """Replace the rows of `into` that match `where` with those in a CSV file.

    `into` is in the database `target`. Uses one transaction. Returns the duration in seconds.
    Raises StackError if psql fails.
    """
    started = time.monotonic()
    _run(
        target,
        f"DELETE FROM {into} WHERE {where}",
        f"\\copy {into} from '{path}' (format csv, header)",
    )
    return time.monotonic() - started


def _run(url: str, *commands: str) -> None:
    psql = (program("psql"), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1")
    arguments = [part for command in commands for part in ("--command", command)]
    done = subprocess.run([*psql, "--single-transaction", *arguments, url], check=False)
    if done.returncode:
        raise StackError(f"psql failed with exit code {done.returncode}")
