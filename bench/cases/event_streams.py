"""The longest delay of an event, with 500 streams open to one process during a batch of 365 days.

It is compared with the longest delay of a client that polls the table as often as the API sends
changes. Also checks that every stream receives the last change to every record.
"""

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
from bench.project import create_project
from bench.readings import FIRST, dataset, make_readings
from bench.results import Log, Result
from sync_pipeline.api.server import RunningApi, run_api
from sync_pipeline.cli.launch import BatchRequest
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings

CASE = "event_streams"
_STREAMS = 500
_DAYS = 365
_GOAL = 3.0
_POLL_SECONDS = 0.25  # the API combines the changes of this time
_TIMEOUT_SECONDS = 60
_REQUEST = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Received:
    """The data that all streams have received.

    `lags` are the seconds from the write of a record to its arrival. `changes` are the `id:` lines
    that each stream received.
    """

    open: int = 0
    lags: list[float] = field(default_factory=list)
    changes: list[set[bytes]] = field(default_factory=list)
    ended: int = 0
    resets: int = 0


def measure(settings: Settings, log: Log) -> Result:
    """Measure the time from writing a record to its arrival on each stream."""
    make_readings(settings)
    streamed = dataset("streamed")
    with (
        create_project([streamed], settings) as project_settings,
        run_api(project_settings, free_port(0)) as api,
    ):
        idle = _memory(api)
        received, polled, end = Received(), list[float](), threading.Event()
        listening = threading.Thread(target=lambda: asyncio.run(_listen(api, received, end)))
        polling = threading.Thread(target=_poll, args=[project_settings, polled, end])
        listening.start()
        polling.start()
        try:
            _wait_until(lambda: received.open == _STREAMS)
            opened = _memory(api)
            log(f"{_STREAMS} streams are open")
            last = FIRST + timedelta(days=_DAYS - 1)
            batch_seconds = run_batch(
                project_settings, BatchRequest(streamed.name, FIRST, last)
            ).run_seconds
            _wait_until(lambda: received.ended >= _STREAMS)
            last_of_each = _last_changes(project_settings)
            # Changes to days may arrive after the last change to their batch.
            _wait_until(lambda: not _missed(received, last_of_each))
            busy = _memory(api)
        finally:
            end.set()
            listening.join()
            polling.join()
    latest, latest_polled = max(received.lags), max(polled)
    return Result(
        CASE,
        f"{_STREAMS} streams on one process during a batch of {_DAYS} days: the longest of "
        f"{len(received.lags):,} delays between a write and its arrival; every stream received the "
        f"last change of all {len(last_of_each):,} records",
        f"the longest delay of a client that polls the table every {_POLL_SECONDS:g} s",
        latest / latest_polled,
        _GOAL,
        {
            "measured_seconds": round(latest, 3),
            "baseline_seconds": round(latest_polled, 3),
            "p50_seconds": round(statistics.median(received.lags), 3),
            "p99_seconds": round(statistics.quantiles(received.lags, n=100)[-1], 3),
            "batch_seconds": round(batch_seconds, 3),
            "resets": received.resets,
            "records": len(last_of_each),
            "missed": _missed(received, last_of_each),
            "idle_bytes": idle,
            "open_bytes": opened,
            "busy_bytes": busy,
        },
    )


def _poll(settings: Settings, lags: list[float], end: threading.Event) -> None:
    """Poll the batch's record until `end` is set; append the age of each change that is found."""
    known = None
    with closing(psycopg2.connect(settings.tracking_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not end.wait(_POLL_SECONDS):
                cursor.execute(
                    "SELECT change, updated_at FROM daily_sync_status WHERE kind = 'batch'"
                )
                found = cursor.fetchone()
                if found is not None and found[0] != known:
                    known = found[0]
                    lags.append((datetime.now(timezone.utc) - found[1]).total_seconds())


async def _listen(api: RunningApi, received: Received, end: threading.Event) -> None:
    tasks = [asyncio.create_task(_stream(api, received)) for _ in range(_STREAMS)]
    while not end.is_set():
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _last_changes(settings: Settings) -> set[bytes]:
    """Return the last change to each record, as its `id:` line in a stream."""
    with (
        closing(psycopg2.connect(settings.tracking_url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT change FROM daily_sync_status")
        return {b"id: %d\n" % change for (change,) in cursor.fetchall()}


def _missed(received: Received, last_of_each: set[bytes]) -> int:
    """Return how many of the last changes were not received, summed over all streams."""
    return sum(len(last_of_each - changes) for changes in received.changes)


async def _stream(api: RunningApi, received: Received) -> None:
    changes: set[bytes] = set()
    received.changes.append(changes)
    where = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 24)
    try:
        writer.write(_REQUEST.encode())
        status = await reader.readline()
        received.open += status.startswith(b"HTTP/1.1 200")
        while line := await reader.readline():
            if line.startswith(b"event: reset"):
                received.resets += 1
            elif line.startswith(b"id: "):
                changes.add(line)
            # Parse only the batch's record, as parsing every record would slow down this process.
            elif line.startswith(b"data: ") and b'"kind":"batch"' in line:
                record = json.loads(line[6:])
                written = datetime.fromisoformat(record["updated_at"].replace("Z", "+00:00"))
                received.lags.append((datetime.now(timezone.utc) - written).total_seconds())
                received.ended += record["status"] == "success"
    finally:
        writer.close()


def _memory(api: RunningApi) -> int:
    return int(psutil.Process(api.process.pid).memory_info().rss)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StackError("the streams did not open, or did not receive all changes")
        time.sleep(0.05)
