"""Figures for Prometheus: from the records, looked at again after some seconds, and of this server.

What the records say is in gauges, since days are synced again and records are deleted.
"""

import threading
import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sync_pipeline.api.live.broker import Broker
from sync_pipeline.database.pool import ReadingPool
from sync_pipeline.errors import TrackingError
from sync_pipeline.tracking.read import metrics
from sync_pipeline.tracking.read.metrics import BatchMetric, DayMetric

_KEPT_SECONDS = 15.0


class Metrics:
    """The figures of one application."""

    def __init__(self, pool: ReadingPool, broker: Broker) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # of no use to anybody
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "sync_api_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._registry.register(_Records(pool))
        self._registry.register(_Streams(broker))

    def count(self, method: str, route: str, status: int) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Streams(Collector):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "sync_api_event_streams", "Event streams that are open.", len(self._broker)
        )


class _Records(Collector):
    def __init__(self, pool: ReadingPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._until = 0.0
        self._found: tuple[list[BatchMetric], list[DayMetric]] = ([], [])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            batches, days = self._look()
            up = 1
        except TrackingError:
            (batches, days), up = ([], []), 0
        yield GaugeMetricFamily("sync_up", "Whether the tracking tables can be read.", up)
        yield from _batches(batches)
        yield from _days(days)

    def _look(self) -> tuple[list[BatchMetric], list[DayMetric]]:
        with self._lock:
            if time.monotonic() > self._until:
                self._found = self._pool.run(
                    lambda cursor: (metrics.batch_metrics(cursor), metrics.day_metrics(cursor))
                )
                self._until = time.monotonic() + _KEPT_SECONDS
            return self._found


def _batches(found: list[BatchMetric]) -> Iterator[GaugeMetricFamily]:
    batches = GaugeMetricFamily(
        "sync_batches", "Batches, by dataset and status.", labels=["dataset", "status"]
    )
    for figure in found:
        batches.add_metric([figure.dataset, figure.status], figure.batches)
    yield batches
    running = sum(figure.batches for figure in found if figure.status == "syncing")
    yield GaugeMetricFamily("sync_running_batches", "Batches at work.", running)


def _days(found: list[DayMetric]) -> Iterator[GaugeMetricFamily]:
    days = GaugeMetricFamily(
        "sync_days", "Days, by dataset and status.", labels=["dataset", "status"]
    )
    rows = GaugeMetricFamily(
        "sync_rows", "Rows that the days which are in loaded.", labels=["dataset"]
    )
    last = GaugeMetricFamily(
        "sync_last_success_timestamp_seconds",
        "When a day of the dataset was last synced, as Unix time.",
        labels=["dataset"],
    )
    for figure in found:
        days.add_metric([figure.dataset, figure.status], figure.days)
        if figure.status == "success":
            rows.add_metric([figure.dataset], figure.rows)
            last.add_metric([figure.dataset], figure.last_end or 0.0)
    yield from (days, rows, last)
