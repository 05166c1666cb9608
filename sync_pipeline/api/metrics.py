"""Prometheus metrics for this server and for the records.

Record metrics are cached for 15 seconds. They are gauges, not counters, because they decrease when
records are deleted or days are synced again. Does not contain the queries: see
`tracking/read/metrics.py`.
"""

import threading
import time
from collections.abc import Iterator, Sized

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sync_pipeline.database.pool import ReadOnlyPool
from sync_pipeline.errors import TrackingError
from sync_pipeline.tracking.read import metrics
from sync_pipeline.tracking.read.metrics import BatchMetric, DayMetric

_TTL_SECONDS = 15.0


class Metrics:
    """The metrics of one application."""

    def __init__(self, pool: ReadOnlyPool, streams: Sized) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # `*_created` is not needed
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "sync_api_requests",
            "HTTP requests, by method, route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._registry.register(_Records(pool))
        self._registry.register(_Streams(streams))

    def count(self, method: str, route: str, status: int) -> None:
        """Count a request. Called when its response starts."""
        self._requests.labels(method, route, str(status)).inc()

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class _Streams(Collector):
    def __init__(self, streams: Sized) -> None:
        self._streams = streams

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("sync_api_event_streams", "Open event streams.", len(self._streams))


class _Records(Collector):
    def __init__(self, pool: ReadOnlyPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._expires = 0.0
        self._cached: tuple[list[BatchMetric], list[DayMetric]] = ([], [])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            batches, days = self._read()
            up = 1
        except TrackingError:
            (batches, days), up = ([], []), 0
        yield GaugeMetricFamily("sync_up", "Whether the tracking tables can be read.", up)
        yield from _batches(batches)
        yield from _days(days)

    def _read(self) -> tuple[list[BatchMetric], list[DayMetric]]:
        with self._lock:
            if time.monotonic() > self._expires:
                self._cached = self._pool.run(
                    lambda cursor: (metrics.batch_metrics(cursor), metrics.day_metrics(cursor))
                )
                self._expires = time.monotonic() + _TTL_SECONDS
            return self._cached


def _batches(found: list[BatchMetric]) -> Iterator[GaugeMetricFamily]:
    batches = GaugeMetricFamily(
        "sync_batches", "Batches, by dataset and status.", labels=["dataset", "status"]
    )
    for metric in found:
        batches.add_metric([metric.dataset, metric.status], metric.batches)
    yield batches
    running = sum(metric.batches for metric in found if metric.status == "syncing")
    yield GaugeMetricFamily("sync_running_batches", "Running batches.", running)


def _days(found: list[DayMetric]) -> Iterator[GaugeMetricFamily]:
    days = GaugeMetricFamily(
        "sync_days",
        "Days, by dataset and status; resync_failed: synced, but the latest attempt failed.",
        labels=["dataset", "status"],
    )
    rows = GaugeMetricFamily(
        "sync_rows", "Rows of all days in the target, as loaded.", labels=["dataset"]
    )
    last = GaugeMetricFamily(
        "sync_last_success_timestamp_seconds",
        "When a day of the dataset was last synced, in Unix seconds.",
        labels=["dataset"],
    )
    for metric in found:
        days.add_metric([metric.dataset, metric.state], metric.days)
    for dataset in dict.fromkeys(metric.dataset for metric in found):
        states = [metric for metric in found if metric.dataset == dataset]
        rows.add_metric([dataset], sum(metric.rows for metric in states))
        last.add_metric([dataset], max(metric.last_load or 0.0 for metric in states))
    yield from (days, rows, last)
