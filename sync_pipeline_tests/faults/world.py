"""The world of a round: a project, its databases on up to four servers, and their expected content.

The source computes its rows from a generation number, so the expected rows for each day are known.
Every row differs from one generation to the next, and each generation has one row per day fewer. A
round's databases are copies of templates in which real runs have already synced the first days. For
the datasets, see `tables`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.database import named_sql
from sync_pipeline.local.stack import prepare_databases
from sync_pipeline.orchestration.dagster.storage import speed_up_run
from sync_pipeline.orchestration.project import load_datasets
from sync_pipeline.settings import Settings
from sync_pipeline_tests import stack_project
from sync_pipeline_tests.faults import workers
from sync_pipeline_tests.faults.servers import Server, query
from sync_pipeline_tests.faults.tables import SHARED_KEY, TABLES
from sync_pipeline_tests.faults.workers import in_environment

FIRST = date(2025, 1, 1)
DAYS = 120
DAYS_SYNCED = 40
"""How many of the first days are synced, with generation 1, before a round starts."""
ROWS_PER_DAY = 20
PASSWORD = "Geheim-4711-Wort"  # noqa: S105  must not be in any table or log after a round
LOST_AFTER_SECONDS = 1.0
TIMEOUT_SECONDS = 120.0

_ROLES = ("source", "target", "tracking", "dagster")


class Step(IntEnum):
    """A step of a sync at which a test can make a worker wait; the value is the gate's lock ID."""

    BEFORE_LOCK = 7701
    AT_BEGIN = 7702
    AFTER_DELETE = 7703
    IN_READ = 7704
    IN_COPY = 7705
    AT_SUCCESS = 7706
    BEFORE_COMMIT = 7707
    AFTER_COMMIT = 7708
    BEFORE_EVENT = 7709
    AFTER_EVENT = 7710


class Layout(str, Enum):
    """Which databases are on separate servers. TOGETHER applies if only the target's URL is set."""

    TOGETHER = "together"  # the target also holds the records and Dagster's storage
    DAGSTER_APART = "dagster_apart"
    ALL_APART = "all_apart"

    def home_of(self, role: str) -> str:
        """Return the server that contains the database for `role`."""
        if role == "dagster" and self is Layout.TOGETHER:
            return "target"
        if role == "tracking" and self is not Layout.ALL_APART:
            return "target"
        return role


def expected(day: date, generation: int) -> list[tuple[int, int]]:
    """Return the source's rows for `day`, as pairs of ID and amount."""
    if ((day - FIRST).days + 3 * generation) % 13 == 0:
        return []
    return [(n, generation * 1000 + n) for n in range(1, ROWS_PER_DAY - generation + 1)]


def day_number(offset: int) -> date:
    return FIRST + timedelta(days=offset)


@dataclass
class World:
    """The databases of one layout, used by one round at a time.

    Each item in `generations` holds the last attempt ID before a generation, and the generation's
    number.
    """

    layout: Layout
    settings: Settings
    servers: dict[str, Server]
    instance: dg.DagsterInstance
    datasets: Sequence[Dataset]
    generations: list[tuple[int, int]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.settings.environment)

    def server(self, role: str) -> Server:
        return self.servers[self.layout.home_of(role)]

    def url(self, role: str) -> str:
        """Return the superuser's URL for the database with this purpose, such as the target."""
        home = self.layout.home_of(role)
        return self.servers[home].url.replace("/postgres?", f"/{self.layout.value}_{home}?")

    def query(self, role: str, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return query(self.url(role), statement, values)

    def start_servers(self) -> None:
        for server in self.servers.values():
            server.start()

    def reset(self, pace: float) -> None:
        """Recreate all databases from their templates, and start a new generation."""
        for home in {self.layout.home_of(role) for role in _ROLES}:
            name = f"{self.layout.value}_{home}"
            query(self.servers[home].url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            # Not STRATEGY wal_log: sequences copied that way lose values if the server crashes.
            copy = f"CREATE DATABASE {name} TEMPLATE {name}_template STRATEGY file_copy"
            query(self.servers[home].url, copy)
            query(self.servers[home].url, f"ALTER DATABASE {name} OWNER TO sync")
        self.generations = [(0, 1)]
        self.next_generation(pace)

    def next_generation(self, pace: float) -> None:
        """Change all rows of the source; from now on, reading a day takes `pace` seconds."""
        (last,) = self.query("tracking", "SELECT coalesce(max(id), 0) AS id FROM sync_attempt")
        number = self.generations[-1][1] + 1
        self.query("source", "UPDATE generation SET number = %s, pace = %s", [number, pace])
        self.generations.append((last["id"], number))

    def generation_of(self, attempt_id: int) -> int:
        return next(n for after, n in reversed(self.generations) if attempt_id > after)


@contextmanager
def running_servers(folder: Path) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        servers = {}
        for role in _ROLES:
            servers[role] = stack.enter_context(Server(folder / f"pg-{role}").running())
            query(servers[role].url, f"CREATE ROLE sync LOGIN PASSWORD '{PASSWORD}'")
        yield servers


def write_project(folder: Path) -> None:
    """Write the rounds' project to `folder`."""
    stack_project.write_project(folder, dict.fromkeys(TABLES, "single_run"))
    for name, table in TABLES.items():
        text = table.defs(name, FIRST, day_number(DAYS - 1))
        (folder / "team" / "datasets" / name / "defs.yaml").write_text(text)


@contextmanager
def made_world(folder: Path, layout: Layout, servers: dict[str, Server]) -> Iterator[World]:
    """Create the databases for `layout` and their templates. Reset the yielded world before use."""
    given = _given(folder, layout, servers)
    with prepare_databases(given) as settings, _instance(settings) as instance:
        speed_up_run(instance)
        world = World(layout, settings, servers, instance, load_datasets(settings.project_dir))
        _fill(world)
        workers.preload(settings.environment)
        _sync_first_days(world, folder)
        _keep_as_templates(world)
        yield world


def _given(folder: Path, layout: Layout, servers: dict[str, Server]) -> Settings:
    urls = {}
    for role in _ROLES:
        home = layout.home_of(role)
        name = f"{layout.value}_{home}"
        if home == role:
            query(servers[home].url, f"CREATE DATABASE {name} OWNER sync")
        url = servers[home].url.replace("//postgres@/postgres?", f"//sync:{PASSWORD}@/{name}?")
        urls[role] = url
    given = {
        "SYNC_SOURCE_URL": urls["source"],
        # The same database; the limit on connections belongs to the setting.
        "SYNC_LIMITED_URL": urls["source"],
        # With this scheme, the source is read through SQLAlchemy and Arrow, as other databases are.
        "SYNC_SQL_URL": urls["source"].replace("postgresql://", "postgresql+psycopg2://"),
        "SYNC_DATABASE_URL": urls["target"],
        "SYNC_PROJECT_DIR": str(folder / "project"),
        "SYNC_DATA_DIR": str(folder / f"data-{layout.value}"),
        "SYNC_LOST_AFTER_SECONDS": str(LOST_AFTER_SECONDS),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    if layout.home_of("tracking") == "tracking":
        given["SYNC_TRACKING_URL"] = urls["tracking"]
    if layout.home_of("dagster") == "dagster":
        given["SYNC_DAGSTER_STORAGE_URL"] = urls["dagster"]
    return Settings(given)


def _fill(world: World) -> None:
    statements = named_sql.load(__package__, "world.sql")
    numbers: dict[str, object] = {step.name.lower(): int(step) for step in Step}
    numbers |= {"start": FIRST, "days": DAYS, "rows": ROWS_PER_DAY}
    for role in ("source", "target", "tracking"):
        world.query(role, statements[role].format(**numbers))
    for name, table in TABLES.items():
        values = numbers | {
            "dataset": name,
            "key": SHARED_KEY.format(start=FIRST) if table.key else "0",
        }
        for part in ("source_of", *table.statements):
            role = part.partition("_")[0]
            world.query(role, statements[part].format(**values))


def _sync_first_days(world: World, folder: Path) -> None:
    started = {}
    for dataset in TABLES:
        request = workers.job_request(
            dataset, FIRST, day_number(DAYS_SYNCED - 1), f"before-{dataset}"
        )
        log = folder / "logs" / f"{world.layout.value}-{dataset}.log"
        started[dataset] = workers.start(world.environment, request, log)
    for worker in started.values():
        worker.process.wait(TIMEOUT_SECONDS)
        assert worker.process.poll() == 0, worker.log.read_text()[-6000:]


def _keep_as_templates(world: World) -> None:
    for home in {world.layout.home_of(role) for role in _ROLES}:
        url, name = world.servers[home].url, f"{world.layout.value}_{home}"
        # A template must have no open connections; the pool will open new ones.
        query(
            url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        query(url, f"CREATE DATABASE {name}_template TEMPLATE {name}")


def _instance(settings: Settings) -> dg.DagsterInstance:
    """Return the Dagster instance for `settings`, which Dagster reads from the environment."""
    with in_environment(settings.environment):
        return dg.DagsterInstance.get()
