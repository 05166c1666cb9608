"""500 open event streams on one process while a batch of a year runs: how late the latest is, and
that each of them heard how every record ended."""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import psutil
import psycopg2

from bench.batch import run_batch
from bench.project import project_of
from bench.readings import FIRST, dataset, make_readings
from bench.results import Result, Say
from sync_pipeline.api.server import RunningApi, run_api
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings

CASE = "event_streams"
_STREAMS = 500
_DAYS = 365
_GOAL_SECONDS = 1.0
_PATIENCE_SECONDS = 60
_REQUEST = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Listeners:
    """What all streams have heard. `lags` are seconds from a record's write to its arrival;
    `changes` are the numbers that each of them was told, as it was."""

    open: int = 0
    lags: list[float] = field(default_factory=list)
    changes: list[set[bytes]] = field(default_factory=list)
    ended: int = 0
    resets: int = 0


def measure(settings: Settings, say: Say) -> Result:
    """Measure, on each stream, from a record's write to its arrival here; take the latest."""
    make_readings(settings)
    of = dataset("streamed")
    with project_of([of], settings) as complete, run_api(complete, free_port(0)) as api:
        idle = _memory(api)
        heard, end = Listeners(), threading.Event()
        listening = threading.Thread(target=lambda: asyncio.run(_listen(api, heard, end)))
        listening.start()
        try:
            _wait(lambda: heard.open == _STREAMS)
            opened = _memory(api)
            say(f"{_STREAMS} streams are open")
            last = FIRST + timedelta(days=_DAYS - 1)
            took = run_batch(complete, BatchRequest(of.name, FIRST, last)).run_seconds
            _wait(lambda: heard.ended >= _STREAMS)
            last_of_each = _last_changes(complete)
            # Days are told of a moment after their batch.
            _wait(lambda: not _missed(heard, last_of_each))
            busy = _memory(api)
        finally:
            end.set()
            listening.join()
    late = max(heard.lags)
    return Result(
        CASE,
        f"{_STREAMS} streams on one process, a batch of {_DAYS} days at work: the latest of "
        f"{len(heard.lags):,} arrivals after its write; each heard the end of all "
        f"{len(last_of_each):,} records",
        f"{_GOAL_SECONDS:.0f} s",
        late / _GOAL_SECONDS,
        1.0,
        {
            "latest_seconds": round(late, 3),
            "p50_seconds": round(statistics.median(heard.lags), 3),
            "p99_seconds": round(statistics.quantiles(heard.lags, n=100)[-1], 3),
            "batch_seconds": round(took, 3),
            "resets": heard.resets,
            "records": len(last_of_each),
            "missed": _missed(heard, last_of_each),
            "idle_bytes": idle,
            "open_bytes": opened,
            "busy_bytes": busy,
        },
    )


async def _listen(api: RunningApi, heard: Listeners, end: threading.Event) -> None:
    tasks = [asyncio.create_task(_stream(api, heard)) for _ in range(_STREAMS)]
    while not end.is_set():
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _last_changes(settings: Settings) -> set[bytes]:
    """Return the number of each record's last change, as a stream says it."""
    with (
        closing(psycopg2.connect(settings.tracking_url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT change FROM daily_sync_status")
        return {b"id: %d\n" % change for (change,) in cursor.fetchall()}


def _missed(heard: Listeners, last_of_each: set[bytes]) -> int:
    """Return of how many records the streams together did not hear the last change."""
    return sum(len(last_of_each - changes) for changes in heard.changes)


async def _stream(api: RunningApi, heard: Listeners) -> None:
    changes: set[bytes] = set()
    heard.changes.append(changes)
    where = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 24)
    try:
        writer.write(_REQUEST.encode())
        answer = await reader.readline()
        heard.open += answer.startswith(b"HTTP/1.1 200")
        while line := await reader.readline():
            if line.startswith(b"event: reset"):
                heard.resets += 1
            elif line.startswith(b"id: "):
                changes.add(line)
            # Only the batch's own record is read: reading all of them would measure this side.
            elif line.startswith(b"data: ") and b'"kind":"batch"' in line:
                record = json.loads(line[6:])
                written = datetime.fromisoformat(record["updated_at"].replace("Z", "+00:00"))
                heard.lags.append((datetime.now(timezone.utc) - written).total_seconds())
                heard.ended += record["status"] == "success"
    finally:
        writer.close()


def _memory(api: RunningApi) -> int:
    return int(psutil.Process(api.process.pid).memory_info().rss)


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise StackError("the streams did not open, or did not hear of the batch's end")
        time.sleep(0.05)
