"""The peer of one large day: two `psql` and a pipe, as a person would do it by hand."""

import subprocess
import time

from bench.programs import program
from sync_pipeline.errors import StackError


def copy_day(source: str, target: str, *, select: str, into: str, where: str) -> float:
    """Replace the rows `where` of `into` at `target` by those of `select` at `source`, in one
    transaction; return the seconds it took. Raises StackError if a psql fails."""
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
        raise StackError(f"psql failed: {reader.returncode} reading, {writer.returncode} writing")
    return seconds
