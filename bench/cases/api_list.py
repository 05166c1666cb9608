"""The API's list at a million records: how long a page takes, whatever is asked for."""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from bench import million
from bench.results import Result, Say
from sync_pipeline.api.server import run_api
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings

CASE = "api_list"
_GOAL_SECONDS = 0.020
_TURNS = 30
_ASKED: dict[str, dict[str, str]] = {
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
    "text_in_dataset": {"dataset": "dataset_77", "q": "stands nowhere"},
}
# What reads every record, which docs/api.md says; apart from the others.
_TEXT = "text_found_nowhere"


def measure(settings: Settings, say: Say) -> Result:
    """Measure each kind of list from request to last byte, on one connection kept open."""
    million.make_records(settings, say)
    seconds: dict[str, list[float]] = {}
    with (
        run_api(settings, free_port(0)) as api,
        closing(HTTPConnection(urlsplit(api.url).netloc)) as connection,
    ):
        for turn in range(_TURNS + 1):
            for name, query in _asked(connection):
                took = _get(connection, query)[0]
                if turn:  # the first of each warms up
                    seconds.setdefault(name, []).append(took)
    raw: dict[str, float] = {}
    for name, some in seconds.items():
        median, late = statistics.median(some), _p95(some)
        say(f"{name}: median {median * 1000:.1f} ms, p95 {late * 1000:.1f} ms")
        raw |= {f"{name}_seconds": round(median, 5), f"{name}_p95_seconds": round(late, 5)}
    p95 = max(_p95(some) for name, some in seconds.items() if name != _TEXT)
    return Result(
        CASE,
        f"a page of the list at 1,000,000 records, {len(seconds) - 1} kinds of it: p95 of the "
        "slowest kind",
        f"{_GOAL_SECONDS * 1000:.0f} ms",
        p95 / _GOAL_SECONDS,
        1.0,
        raw | {"p95_seconds": round(p95, 5)},
    )


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _asked(connection: HTTPConnection) -> Iterator[tuple[str, dict[str, str]]]:
    yield from _ASKED.items()
    place = _get(connection, {"page": "200", "page_size": "50"})[1]
    yield "deep", {"page_size": "50", "after": str(place)}
    yield _TEXT, {"q": "stands nowhere"}


def _get(connection: HTTPConnection, query: dict[str, str]) -> tuple[float, object]:
    """Return the seconds a page took, and where the next begins."""
    began = time.perf_counter()
    connection.request("GET", f"/api/v1/sync-status/list?{urlencode(query)}")
    response = connection.getresponse()
    body = response.read()
    took = time.perf_counter() - began
    assert response.status == 200, body
    return took, json.loads(body)["data"]["next"]
