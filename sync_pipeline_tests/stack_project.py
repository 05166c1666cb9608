"""A project with two datasets, and a real Dagster instance that runs it.

`orders` syncs all days of a backfill in one run; `events` syncs two days per run. Their source
views can pause for a given number of seconds per day so that a test can watch a batch while it
runs. Their target tables reject negative amounts so that a test can make a day fail.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sync_pipeline.local import stack as local_stack
from sync_pipeline.local.stack import RunningDagster, prepare_databases
from sync_pipeline.settings import PROJECT_ROOT, Settings
from sync_pipeline_tests.queries import query

START = date(2025, 1, 1)
LAST = date(2025, 12, 31)
ROWS_PER_DAY = 20

_DEFS = """
type: sync_pipeline.DailySync
attributes:
  start_date: {start}
  end_date: {end}
  source: {{url_env: SYNC_SOURCE_URL, table: {name}_source, day_column: day}}
  target: {{table: {name}}}
  backfill: {backfill}
"""
_SOURCE = """
CREATE TABLE {name}_rows (day date, id integer, amount integer, pause float8 DEFAULT 0);
INSERT INTO {name}_rows SELECT d::date, n, n * 10
FROM generate_series(%(start)s::date, %(end)s::date, interval '1 day') AS d,
     generate_series(1, {rows}) AS n;
CREATE INDEX ON {name}_rows (day);
CREATE VIEW {name}_source AS
    SELECT day, id, amount, CASE WHEN pause > 0 THEN pg_sleep(pause)::text ELSE '' END AS paused
    FROM {name}_rows;
"""
_TARGET = """
CREATE TABLE {name} (day date, id integer, amount integer CHECK (amount >= 0), paused text);
CREATE INDEX ON {name} (day);
"""
DATASETS = {"orders": "single_run", "events": "2"}


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


@dataclass(frozen=True)
class Databases:
    """The project's databases and its complete settings."""

    settings: Settings

    def source(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return query(self.settings.postgres_url("SYNC_SOURCE_URL"), statement, values)

    def target(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return query(self.settings.database_url, statement, values)

    def records(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return query(self.settings.tracking_url, statement, values)

    def make_dataset(self, name: str, start: date = START) -> None:
        """Create a dataset's source tables and its target table."""
        self.source(_SOURCE.format(name=name, rows=ROWS_PER_DAY), {"start": start, "end": LAST})
        self.target(_TARGET.format(name=name))

    def pause(self, dataset: str, of: Sequence[date], seconds: float) -> None:
        """Slow down the source, so that reading each of these days takes `seconds`."""
        self.source(
            f"UPDATE {dataset}_rows SET pause = %s WHERE id = 1 AND day = ANY(%s)",
            [seconds, list(of)],
        )

    def spoil(self, dataset: str, day: date) -> None:
        """Change one of the day's rows so that the target rejects that row."""
        self.source(f"UPDATE {dataset}_rows SET amount = -1 WHERE id = 7 AND day = %s", [day])

    def repair(self, dataset: str, day: date) -> None:
        self.source(f"UPDATE {dataset}_rows SET amount = 70 WHERE id = 7 AND day = %s", [day])

    def rows_of(self, dataset: str, day: date) -> list[dict[str, Any]]:
        """Return a day's rows in the target."""
        return self.target(f"SELECT * FROM {dataset} WHERE day = %s ORDER BY id", [day])

    def batches(self, key: str | None = None) -> list[dict[str, Any]]:
        """Return the batch records with this key (by default all of them) in order of creation."""
        return self.records(
            "SELECT * FROM daily_sync_status WHERE kind = 'batch'"
            " AND (%(key)s::text IS NULL OR batch_key = %(key)s) ORDER BY id",
            {"key": key},
        )

    def batch(self, key: str) -> dict[str, Any]:
        """Return the only batch record with this key."""
        (found,) = self.batches(key)
        return found

    def attempts(self, batch_id: int) -> list[dict[str, Any]]:
        return self.records(
            "SELECT * FROM sync_attempt WHERE batch_id = %s ORDER BY sync_date, id", [batch_id]
        )

    def differing_days(self, dataset: str, of: Sequence[date]) -> list[date]:
        """Return the days for which the target's rows differ from the source's rows."""
        statement = """SELECT day, count(*),
            sum(hashtextextended(concat_ws('|', id, amount), 0)::numeric) AS content
            FROM {} WHERE day = ANY(%s) GROUP BY day"""
        there = {r["day"]: r for r in self.source(statement.format(f"{dataset}_rows"), [list(of)])}
        here = {r["day"]: r for r in self.target(statement.format(dataset), [list(of)])}
        return [day for day in of if there.get(day) != here.get(day)]


@dataclass(frozen=True)
class Stack(Databases):
    """The project with a running Dagster instance."""

    dagster: RunningDagster


@contextmanager
def project(
    make_database: Callable[[str | None], str],
    folder: Path,
    datasets: Mapping[str, str] = DATASETS,
    start: date = START,
    **others: str,
) -> Iterator[Databases]:
    """Write the project to `folder` and create its databases.

    `datasets` maps each dataset's name to the value of its `backfill` key, `start` is the first
    day of all datasets, and `others` are additional settings.
    """
    write_project(folder, datasets, start)
    given = Settings(
        {
            "SYNC_DATABASE_URL": make_database(None),
            "SYNC_SOURCE_URL": make_database(None),
            "SYNC_DATA_DIR": str(folder / "data"),
            "SYNC_PROJECT_DIR": str(folder),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **others,
        }
    )
    with prepare_databases(given) as settings:
        made = Databases(settings)
        for name in datasets:
            made.make_dataset(name, start)
        yield made


@contextmanager
def run_dagster(settings: Settings) -> Iterator[RunningDagster]:
    """Run a real web server, daemon and code server on a free port."""
    with local_stack.run_dagster(settings, 0) as dagster:
        yield dagster


@contextmanager
def stack(make_database: Callable[[str | None], str], folder: Path) -> Iterator[Stack]:
    """Run the project with a real web server, daemon and code server on a free port."""
    with project(make_database, folder) as made, run_dagster(made.settings) as dagster:
        yield Stack(made.settings, dagster)


def write_project(folder: Path, datasets: Mapping[str, str], start: date = START) -> None:
    """Write a project with these datasets to `folder`."""
    package = folder / "team" / "datasets"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_pyproject())
    for init in (package.parent, package):
        (init / "__init__.py").touch()
    for name, backfill in datasets.items():
        write_dataset(folder, name, backfill, start)


def _pyproject() -> str:
    """Return the pyproject.toml that docs/operations.md shows for a user's project."""
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return text.split("```toml\n")[1].split("```")[0]


def write_dataset(project_folder: Path, name: str, backfill: str, start: date = START) -> Path:
    """Add a dataset's `defs.yaml` to the project; return the dataset's folder."""
    folder = project_folder / "team" / "datasets" / name
    folder.mkdir()
    text = _DEFS.format(name=name, backfill=backfill, start=start, end=LAST)
    (folder / "defs.yaml").write_text(text)
    return folder
