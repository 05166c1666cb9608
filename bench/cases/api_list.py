"""Latency of the API's record list with a million records, for many parameter combinations."""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from bench import million
from bench.results import Log, Result
from sync_pipeline.api.server import run_api
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings

CASE = "api_list"
_GOAL_SECONDS = 0.020
_REPEATS = 30
_QUERIES: dict[str, dict[str, str]] = {
    "first": {"page": "1", "page_size": "50"},
    "page_200": {"page": "200", "page_size": "50"},
    "batches": {"kind": "batch"},
    "days": {"kind": "day"},
    "dataset": {"dataset": "dataset_77"},
    "dataset_failed": {"dataset": "dataset_77", "status": "failed"},
    "failed": {"status": "failed"},
    "running": {"status": "syncing"},
    "old_week": {"from": "2017-03-01", "to": "2017-03-07"},
    "dataset_year": {"dataset": "dataset_5", "from": "2019-01-01", "to": "2019-12-31"},
    "since": {"from": "2024-06-01"},
    "by_day": {"sort": "sync_date"},
    "slowest": {"sort": "-duration_seconds"},
    "by_id": {"sort": "id"},
    "text_in_dataset": {"dataset": "dataset_77", "q": "no such text"},
}
# This search reads every record, as documented in docs/api.md, so the result does not include it.
_TEXT = "text_found_nowhere"


def measure(settings: Settings, log: Log) -> Result:
    """Time each query from the request to the last byte received, on one persistent connection."""
    million.make_records(settings, log)
    seconds: dict[str, list[float]] = {}
    with (
        run_api(settings, free_port(0)) as api,
        closing(HTTPConnection(urlsplit(api.url).netloc)) as connection,
    ):
        for repeat in range(_REPEATS + 1):
            for name, query in _queries(connection):
                duration = _get(connection, query)[0]
                if repeat:  # the first repeat is a warm-up
                    seconds.setdefault(name, []).append(duration)
    raw: dict[str, float] = {}
    for name, durations in seconds.items():
        median, p95 = statistics.median(durations), _p95(durations)
        log(f"{name}: median {median * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms")
        raw |= {f"{name}_seconds": round(median, 5), f"{name}_p95_seconds": round(p95, 5)}
    slowest = max(_p95(durations) for name, durations in seconds.items() if name != _TEXT)
    return Result(
        CASE,
        f"a page of the list with 1,000,000 records, {len(seconds) - 1} queries: p95 of the "
        "slowest query",
        f"{_GOAL_SECONDS * 1000:.0f} ms",
        slowest / _GOAL_SECONDS,
        1.0,
        raw | {"p95_seconds": round(slowest, 5)},
    )


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _queries(connection: HTTPConnection) -> Iterator[tuple[str, dict[str, str]]]:
    yield from _QUERIES.items()
    cursor = _get(connection, {"page": "200", "page_size": "50"})[1]
    yield "deep", {"page_size": "50", "after": str(cursor)}
    yield _TEXT, {"q": "no such text"}


def _get(connection: HTTPConnection, query: dict[str, str]) -> tuple[float, object]:
    """Return the duration of a request in seconds, and the cursor of the next page."""
    started = time.perf_counter()
    connection.request("GET", f"/api/v1/sync-status/list?{urlencode(query)}")
    response = connection.getresponse()
    body = response.read()
    duration = time.perf_counter() - started
    assert response.status == 200, body
    return duration, json.loads(body)["data"]["next"]
