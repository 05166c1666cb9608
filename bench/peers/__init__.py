"""Other tools that copy tables, installed apart from us: an environment of their own, once."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sync_pipeline.errors import StackError
from sync_pipeline.settings import PROJECT_ROOT

_HERE = Path(__file__).parent
_LOCK = _HERE / "requirements.lock"
_FOLDER = PROJECT_ROOT / ".data" / "bench-peers"
_SECONDS = 600


def run(program: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Run a program to its end; return how many seconds it took and what it printed.

    Raises StackError, with the last line of what it said, if it fails.
    """
    started = time.monotonic()
    ended = subprocess.run(
        program,
        env=None if environment is None else dict(environment),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    seconds = time.monotonic() - started
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise StackError(
            f"{Path(program[0]).name} failed: {said[-1] if said else ended.returncode}"
        )
    return seconds, ended.stdout


def python() -> str:
    """Return the Python that has the peers installed, after installing them if need be."""
    found = _FOLDER / "bin" / "python"
    ready = _FOLDER / ".ready"
    if not ready.exists() or ready.stat().st_mtime < _LOCK.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", _FOLDER], check=True)
        install = [str(found), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*install, "-r", str(_LOCK)], check=True)
        ready.touch()
    return str(found)


def sling() -> str:
    """Return the program of sling, which its package carries."""
    ask = "import sling_linux_amd64 as s; print(s.__path__[0])"
    found = subprocess.run([python(), "-c", ask], capture_output=True, text=True, check=True)
    return str(Path(found.stdout.strip()) / "bin" / "sling-linux-amd64")


DLT = str(_HERE / "dlt_child.py")
"""A script for the peers' Python: source, target, table; prints the seconds of dlt's own run."""

ARROW = str(_HERE / "arrow_child.py")
"""A script for the peers' Python: a way and the target; prints how long a million rows took."""

DUCKDB = str(_HERE / "duckdb_child.py")
"""A script for the peers' Python: Parquet file, target, table, which rows it replaces; prints the
seconds."""
