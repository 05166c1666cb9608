"""Fixtures that sync days from any type of source into a real database with tracking tables."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.settings import PROJECT_ROOT, Settings
from sync_pipeline.sync.days import DayResult, sync_days
from sync_pipeline.tracking.worker.tracker import Tracker
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources import rest_server
from sync_pipeline_tests.integration.sources.file_reads import Reads, open_files
from sync_pipeline_tests.integration.sources.mariadb import MariaDb, fresh_database, running_server

DAY = date(2025, 10, 1)
NEXT_DAY = date(2025, 10, 2)


@dataclass
class Syncing:
    """A target database, and the settings for syncing days into its table `landed`."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)

    def dataset(self, source: dict[str, Any], **changes: Any) -> Dataset:
        defaults: dict[str, Any] = {
            "name": "landed",
            "start_date": "2000-01-01",
            "source": source,
            "target": {"table": "landed"},
            "retry": {"max_attempts": 1},
        }
        return Dataset.model_validate(defaults | changes)

    def sync(
        self, source: dict[str, Any], days: Sequence[date] = (DAY,), **changes: Any
    ) -> list[DayResult]:
        """Sync `days` from a source with these keys, and return the results."""
        settings = Settings({"SYNC_DATABASE_URL": self.url, **self.settings})
        dataset = self.dataset(source, **changes)
        with Tracker(settings, run_id="run-1", triggered_by="a test") as tracker:
            return list(sync_days(dataset, days, settings=settings, tracker=tracker))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query in the target database and return its rows."""
        return helpers.run(self.url, query)

    def types(self) -> dict[str, str]:
        """Return the type of each column in the target table, keyed by column name."""
        return dict(
            self.rows(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = 'landed'::regclass AND attnum > 0 ORDER BY attnum"
            )
        )


def example(document: str) -> dict[str, Any]:
    """Return the attributes from the complete `defs.yaml` shown in a document."""
    text = (PROJECT_ROOT / document).read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(type: .*?)^```", text, re.M | re.S)
    attributes: dict[str, Any] = yaml.safe_load(block)["attributes"]
    return attributes


@pytest.fixture
def syncing(database_url: str) -> Syncing:
    return Syncing(database_url)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDb]:
    # In pytest's folder, the socket path could exceed the limit of 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="sync_pipeline_tests-") as folder,
        running_server(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def mariadb(mariadb_server: MariaDb, syncing: Syncing) -> Iterator[MariaDb]:
    """Yield a new database on a real MariaDB server, and set `SHOP_URL` to its URL."""
    with fresh_database(mariadb_server) as database:
        syncing.settings["SHOP_URL"] = database.url
        yield database


@pytest.fixture
def api() -> Iterator[rest_server.Api]:
    """Yield an HTTP server whose responses the test defines."""
    with rest_server.running() as api:
        yield api


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield an empty folder for temporary files; at the end, none of them may be open."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert open_files(folder) == []
