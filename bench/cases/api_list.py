"""Latency of the API's record list with a million records, for many parameter combinations.

Each is compared with fetching the same records by primary key and requesting `/healthz`, which
reads nothing: the time that remains if the list needs no work to find its records.
"""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from bench import million
from bench.pairs import Pair, measure_pairs, ratio, raw
from bench.results import Log, Result
from sync_pipeline.api.server import run_api
from sync_pipeline.database.connections import connect
from sync_pipeline.errors import TrackingError
from sync_pipeline.local.processes import free_port
from sync_pipeline.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

CASE = "api_list"
_GOAL = 15.0
_PAIRS = 30
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


@dataclass(frozen=True)
class _Clients:
    """Persistent connections to the API and to the tracking database."""

    api: HTTPConnection
    database: "Connection"

    def get_page(self, query: dict[str, str]) -> tuple[float, Any]:
        """Return the duration of a request until its last byte, in seconds, and its data."""
        seconds, body = self._get(f"/api/v1/sync-status/list?{urlencode(query)}")
        return seconds, json.loads(body)["data"]

    def fetch(self, ids: list[int]) -> float:
        """Return the seconds for fetching these records and for a request that reads nothing."""
        started = time.perf_counter()
        with self.database.cursor() as cursor:
            cursor.execute("SELECT * FROM daily_sync_status WHERE id = ANY(%s)", [ids])
            cursor.fetchall()
        return time.perf_counter() - started + self._get("/healthz")[0]

    def _get(self, path: str) -> tuple[float, bytes]:
        started = time.perf_counter()
        self.api.request("GET", path)
        response = self.api.getresponse()
        body = response.read()
        seconds = time.perf_counter() - started
        assert response.status == 200, body
        return seconds, body


def measure(settings: Settings, log: Log) -> Result:
    """Time each query and its reference alternately."""
    million.make_records(settings, log)
    with _connect(settings) as clients:
        pairs = {name: _measure(clients, name, query, log) for name, query in _queries(clients)}
    text = pairs.pop(_TEXT)
    slowest = max(pairs, key=lambda name: ratio(pairs[name]))
    return Result(
        CASE,
        f"a page of the list with 1,000,000 records, the slowest of {len(pairs)} queries: "
        f"{slowest}",
        "fetching the same records by primary key, and a request that reads nothing",
        ratio(pairs[slowest]),
        _GOAL,
        raw(pairs[slowest])
        | {f"{name}_ratio": round(ratio(found), 2) for name, found in pairs.items()}
        | {f"{_TEXT}_seconds": raw(text)["measured_seconds"]},
    )


@contextmanager
def _connect(settings: Settings) -> Iterator[_Clients]:
    connection = connect(
        settings.tracking_url,
        setting=settings.tracking_setting,
        purpose="bench",
        error=TrackingError,
        autocommit=True,
    )
    with (
        closing(connection),
        run_api(settings, free_port(0)) as api,
        closing(HTTPConnection(urlsplit(api.url).netloc)) as client,
    ):
        yield _Clients(client, connection)


def _measure(clients: _Clients, name: str, query: dict[str, str], log: Log) -> list[Pair]:
    ids = [record["id"] for record in clients.get_page(query)[1]["records"]]
    clients.fetch(ids)
    pairs = measure_pairs(
        _PAIRS, lambda: clients.get_page(query)[0], lambda: clients.fetch(ids), lambda _: None
    )
    times = sorted(pair.measured for pair in pairs)
    log(
        f"{name}: {len(ids)} records, median {statistics.median(times) * 1000:.1f} ms, p95 "
        f"{statistics.quantiles(times, n=20)[-1] * 1000:.1f} ms, ratio {ratio(pairs):.2f}"
    )
    return pairs


def _queries(clients: _Clients) -> Iterator[tuple[str, dict[str, str]]]:
    yield from _QUERIES.items()
    cursor = clients.get_page({"page": "200", "page_size": "50"})[1]["next"]
    yield "deep", {"page_size": "50", "after": str(cursor)}
    yield _TEXT, {"q": "no such text"}
