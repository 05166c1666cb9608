"""The command as its users run it: the installed script, in a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from sync_pipeline import settings

SCRIPTS = Path(sys.executable).parent
COMMAND = str(SCRIPTS / "sync-pipeline")
TIMEOUT_SECONDS = 60
# Set but blank, so that a developer's own .env has no say; wide, so that no line is folded.
_ENVIRONMENT = {
    **{
        value: ""
        for name, value in vars(settings).items()
        if name.endswith(("_URL", "_TOKENS", "_SECRET"))
    },
    "PATH": os.environ["PATH"],
    "COLUMNS": "1000",
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Ended:
    """A process that is over."""

    code: int
    out: str
    errors: str

    @property
    def complaint(self) -> str:
        """The last line of standard error, which says why."""
        return self.errors.splitlines()[-1] if self.errors else ""


def environment_of(given: Mapping[str, str], **others: str) -> dict[str, str]:
    """The whole environment of a command with these settings, and none of this process's own."""
    return {**_ENVIRONMENT, **given, **others}


def run(given: Mapping[str, str], *arguments: object, **others: str) -> Ended:
    """Run `sync-pipeline` to its end."""
    return run_program([COMMAND, *map(str, arguments)], environment_of(given, **others))


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """A folder for an embedded server or the demo.

    Not in pytest's: each session of pytest that begins closes that to other users, and the server
    that root starts runs as another user.
    """
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-test-") as folder:
        yield Path(folder)


def run_all(given: Mapping[str, str], asked: Mapping[str, Sequence[object]]) -> dict[str, Ended]:
    """Run `sync-pipeline` with each of these arguments, all at once, to the end of the last."""
    with ThreadPoolExecutor(len(asked)) as pool:
        running = {name: pool.submit(run, given, *words) for name, words in asked.items()}
        return {name: ended.result() for name, ended in running.items()}


def run_program(
    program: Sequence[str],
    environment: Mapping[str, str],
    *,
    seconds: float = TIMEOUT_SECONDS,
    folder: Path | None = None,
) -> Ended:
    """Run a program to its end; it is killed after `seconds`."""
    result = subprocess.run(
        program,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    return Ended(result.returncode, result.stdout, result.stderr)


@contextmanager
def started(given: Mapping[str, str], *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Start `sync-pipeline`; if it still runs when the block is left, it is killed."""
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        env=environment_of(given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    children: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        process.communicate()
        psutil.wait_procs(children, TIMEOUT_SECONDS)  # they end with their parent


def end_of(process: "subprocess.Popen[str]") -> Ended:
    """Wait for a process that `started` started."""
    out, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return Ended(process.returncode, out, errors)


def wait_until(holds: Callable[[], _T], seconds: float = TIMEOUT_SECONDS) -> _T:
    """Return what `holds` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
