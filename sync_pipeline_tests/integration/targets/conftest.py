"""Fixtures that set the source's rows and sync them into the table `landed` in any write mode."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from sync_pipeline.settings import Settings
from sync_pipeline.sync.days import DayResult
from sync_pipeline.sync.replay import ReplayResult, replay
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import Syncing

Row = dict[str, Any]
GIVEN: dict[str, dict[date, list[Row]]] = {}
"""The source's rows, by database URL and day."""
COLUMNS = {"id": "bigint", "note": "text"}


DISTURBED: dict[tuple[str, date], Callable[[], Iterable[Row]]] = {}
"""Functions whose rows replace those in `GIVEN` the first time that a day is read."""


def rows_of(day: date, database: str) -> Iterable[Row]:
    """Return a day's rows. The datasets in these tests use this as their source function."""
    disturbed = DISTURBED.pop((database, day), None)
    return GIVEN[database].get(day, []) if disturbed is None else disturbed()


@dataclass
class Writing:
    """A source whose rows are set by `give`, and its target."""

    syncing: Syncing
    columns: dict[str, str] = field(default_factory=lambda: dict(COLUMNS))
    changes: dict[str, Any] = field(default_factory=dict)
    day_column: dict[str, str] = field(default_factory=dict)

    def give(self, day: date, *rows: Row) -> None:
        GIVEN.setdefault(self.syncing.url, {})[day] = list(rows)

    def disturb(self, day: date, reading: Callable[[], Iterable[Row]]) -> None:
        DISTURBED[self.syncing.url, day] = reading

    def sync(self, *days: date, **target: Any) -> list[DayResult]:
        return self.syncing.sync(self.source, days, **self._changes(target))

    def one(self, day: date, **target: Any) -> DayResult:
        (result,) = self.sync(day, **target)
        return result

    def replay(self, **target: Any) -> list[ReplayResult]:
        settings = Settings({"SYNC_DATABASE_URL": self.syncing.url})
        dataset = self.syncing.dataset(self.source, **self._changes(target))
        with Tracker(settings, triggered_by="replay") as tracker:
            return list(replay(dataset, settings, tracker))

    def landed(self, columns: str = "id, note, sync_date") -> list[tuple[Any, ...]]:
        return self.syncing.rows(f"SELECT {columns} FROM landed ORDER BY {columns}")

    def counts(self, day: date) -> tuple[Any, ...]:
        """Return how many rows were read, loaded and rejected, according to the day's record."""
        (found,) = self.syncing.rows(
            "SELECT total_records, success_count, failed_count FROM daily_sync_status "
            f"WHERE kind = 'day' AND status = 'success' AND sync_date = '{day}'"
        )
        return found

    def rejected(self) -> list[tuple[Any, ...]]:
        return self.syncing.rows(
            "SELECT row_number, row_values->>'id', error FROM sync_rejected_row ORDER BY row_number"
        )

    @property
    def source(self) -> dict[str, Any]:
        GIVEN.setdefault(self.syncing.url, {})
        return {
            "type": "python",
            "function": f"{__name__}:rows_of",
            "columns": self.columns,
            "options": {"database": self.syncing.url},
            **self.day_column,
        }

    def _changes(self, target: dict[str, Any]) -> dict[str, Any]:
        return self.changes | {"target": {"table": "landed"} | target}


def row(number: int, note: str | None = "", **more: Any) -> Row:
    return {"id": number, "note": note} | more


def errors(results: Sequence[DayResult]) -> list[str]:
    return [result.error for result in results if result.error is not None]


@pytest.fixture
def writing(database_url: str) -> Writing:
    return Writing(Syncing(database_url))


@dataclass(frozen=True)
class User:
    """A target database user who may write to the tracking tables but to no other table."""

    name: str
    url: str

    def of(self, writing: Writing) -> Writing:
        """Return the same source and target, but with the target accessed as this user."""
        return replace(writing, syncing=replace(writing.syncing, url=self.url))


@pytest.fixture
def user(database_url: str) -> Iterator[User]:
    dsn = parse_dsn(database_url)
    name = f"writer_{dsn['dbname']}"
    helpers.run(
        database_url,
        f"CREATE ROLE {name} LOGIN PASSWORD 'sesame'",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    url = f"postgresql://{name}:sesame@/{dsn['dbname']}?host={dsn['host']}"
    yield User(name, url + (f"&port={dsn['port']}" if "port" in dsn else ""))
    helpers.run(database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
