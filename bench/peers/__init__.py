"""Other tools that copy tables, installed once in a separate virtual environment."""

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
    """Run a program; return its duration in seconds and its standard output.

    Raises StackError with the last line of its output if it fails.
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
        output = (ended.stderr or ended.stdout).strip().splitlines()
        raise StackError(
            f"{Path(program[0]).name} failed: {output[-1] if output else ended.returncode}"
        )
    return seconds, ended.stdout


def python() -> str:
    """Return the path of the Python interpreter of the peers' virtual environment.

    Creates the environment and installs the peers if necessary.
    """
    found = _FOLDER / "bin" / "python"
    ready = _FOLDER / ".ready"
    if not ready.exists() or ready.stat().st_mtime < _LOCK.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", _FOLDER], check=True)
        install = [str(found), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*install, "-r", str(_LOCK)], check=True)
        ready.touch()
    return str(found)


def sling() -> str:
    """Return the path of the sling binary in its Python package."""
    script = "import sling_linux_amd64 as s; print(s.__path__[0])"
    found = subprocess.run([python(), "-c", script], capture_output=True, text=True, check=True)
    return str(Path(found.stdout.strip()) / "bin" / "sling-linux-amd64")


DLT = str(_HERE / "dlt_child.py")
"""A script to run with `python()`. Arguments: source, target, table. Prints the seconds taken."""

ARROW = str(_HERE / "arrow_child.py")
"""A script to run with `python()`. Arguments: method, target. Prints the seconds taken."""

DUCKDB = str(_HERE / "duckdb_child.py")
"""A script to run with `python()`. Arguments: Parquet file, target, table, SQL condition for the
rows to replace. Prints the seconds taken."""
