"""Workers: which processes are at work, and how it is known that one is gone.

A worker is known by its host_id, its pid, and when its process began. In the same host_id the operating
system says at once whether it lives; of another host_id only its signs of life tell.
"""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sync_pipeline.database import named_sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_SQL = named_sql.load(__package__, "workers.sql")
_SAME_PROCESS_SECONDS = 1.0  # how exactly two readings of a process's start agree


@dataclass(frozen=True)
class Worker:
    """A process at the days of one run. `process_started` is in Unix seconds."""

    run_id: str
    host_id: str
    pid: int
    process_started: float


@dataclass(frozen=True)
class SeenWorker:
    """A worker that has signed on, and for how many seconds it has been silent."""

    worker: Worker
    silent_seconds: float

    def is_dead(self, silent_for_long: float) -> bool:
        """Whether its process is known to be gone; only in its own host_id can that be known.

        That its pid is another's now is believed only of a worker that was silent for more than
        `silent_for_long` seconds: a clock that is set moves the times at which processes began.
        """
        if self.worker.host_id != here():
            return False
        try:
            process = psutil.Process(self.worker.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            began = process.create_time()
        except psutil.NoSuchProcess:
            return not _is_hidden(self.worker.pid)
        other = abs(began - self.worker.process_started) > _SAME_PROCESS_SECONDS
        return other and self.silent_seconds > silent_for_long


def this_process(run_id: str) -> Worker:
    """Return this process as a worker of `run_id`."""
    return Worker(run_id, here(), os.getpid(), psutil.Process().create_time())


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process of which nothing can be read: another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def here() -> str:
    """Return the name of this host_id: the machine since its start, and the process namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            link = Path(path)
            parts.append(str(link.readlink()) if link.is_symlink() else link.read_text().strip())
        except OSError:  # not Linux
            parts.append(str(psutil.boot_time()))
    return " ".join(parts)


def register(cursor: "Cursor", worker: Worker) -> None:
    """Note that `worker` is at work."""
    cursor.execute(_SQL["sign_on"], vars(worker))


def beat(cursor: "Cursor", worker: Worker) -> bool:
    """Give a sign of life of `worker`; return False if it is no longer known."""
    cursor.execute(_SQL["beat"], vars(worker))
    row = cursor.fetchone()
    return row is not None and row[0] == 1


def hold(cursor: "Cursor", worker: Worker) -> bool:
    """Return whether `worker` is still known; if so, it stays known until the transaction ends."""
    cursor.execute(_SQL["hold"], vars(worker))
    return cursor.rowcount == 1


def deregister(cursor: "Cursor", worker: Worker) -> None:
    """Note that `worker` has ended, or is known to be gone."""
    cursor.execute(_SQL["sign_off"], vars(worker))


def seen(cursor: "Cursor") -> list[SeenWorker]:
    """Return all workers that have signed on and not off."""
    cursor.execute(_SQL["workers"])
    return [SeenWorker(Worker(*row[:4]), row[4]) for row in cursor.fetchall()]
