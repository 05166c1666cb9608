"""Workers: which processes are registered, and whether a worker's process still exists.

A worker is identified by its host ID, its process ID and the start time of its process. The
operating system knows whether a process on the same host exists; a worker on another host can only
be judged by its heartbeat. Does not send heartbeats (see `heartbeat.py`), and does not
declare workers lost: see `orchestration/recovery/lost_workers.py`.
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
_SAME_PROCESS_SECONDS = 1.0  # tolerance between two readings of a process's start time


@dataclass(frozen=True)
class Worker:
    """A process that syncs the days of a run. `process_started` is Unix time in seconds."""

    run_id: str
    host_id: str
    pid: int
    process_started: float


@dataclass(frozen=True)
class RegisteredWorker:
    """A registered worker, and the seconds since its last heartbeat."""

    worker: Worker
    silent_seconds: float

    def is_dead(self, lost_after_seconds: float) -> bool:
        """Return whether the worker is known to have ended; always False if it is on another host.

        A process with the same ID but a different start time counts as another process only if the
        last heartbeat is more than `lost_after_seconds` ago, because setting the clock changes the
        start times of processes.
        """
        if self.worker.host_id != this_host_id():
            return False
        try:
            process = psutil.Process(self.worker.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            started = process.create_time()
        except psutil.NoSuchProcess:
            return not _exists(self.worker.pid)
        pid_reused = abs(started - self.worker.process_started) > _SAME_PROCESS_SECONDS
        return pid_reused and self.silent_seconds > lost_after_seconds


def this_process(run_id: str) -> Worker:
    """Return this process as a worker of the run `run_id`."""
    return worker_with(run_id, os.getpid())


def worker_with(run_id: str, pid: int) -> Worker:
    """Return the process `pid` as a worker of the run `run_id`. Raises psutil.NoSuchProcess."""
    return Worker(run_id, this_host_id(), pid, psutil.Process(pid).create_time())


def _exists(pid: int) -> bool:
    """Return whether the process exists. Also finds the processes of other users, which psutil
    cannot always inspect."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def this_host_id() -> str:
    """Return an ID that is unique to this boot of the machine and this process namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            link = Path(path)
            parts.append(str(link.readlink()) if link.is_symlink() else link.read_text().strip())
        except OSError:  # not Linux
            parts.append(str(psutil.boot_time()))
    return " ".join(parts)


def register(cursor: "Cursor", worker: Worker) -> None:
    """Register `worker`."""
    cursor.execute(_SQL["register"], vars(worker))


def beat(cursor: "Cursor", worker: Worker) -> bool:
    """Record a heartbeat of `worker` and the progress of its batches; return False if the worker
    is not registered any more."""
    cursor.execute(_SQL["beat"], vars(worker))
    row = cursor.fetchone()
    if row is None or row[0] != 1:
        return False
    cursor.execute(_SQL["project"], vars(worker))
    return True


def lock_registration(cursor: "Cursor", worker: Worker) -> bool:
    """Return whether `worker` is registered; if so, lock its row until the transaction ends."""
    cursor.execute(_SQL["lock_registration"], vars(worker))
    return cursor.rowcount == 1


def deregister(cursor: "Cursor", worker: Worker) -> None:
    """Delete the registration of `worker`, which has ended or is lost."""
    cursor.execute(_SQL["deregister"], vars(worker))


def registered_workers(cursor: "Cursor") -> list[RegisteredWorker]:
    """Return all registered workers."""
    cursor.execute(_SQL["workers"])
    return [RegisteredWorker(Worker(*row[:4]), row[4]) for row in cursor.fetchall()]
