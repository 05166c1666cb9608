"""The datasets of the rounds' project: their sources, write modes, schedules and limits.

Does not create their tables: see `world.sql`. For the rows that they contain, see `world`.
"""

import json
from dataclasses import dataclass
from datetime import date

from sync_pipeline.config.dataset import Schedule

SHARED_ID = 5
"""In a dataset with a key, the row with this ID has the same key on `DAYS_SHARING` days."""
DAYS_SHARING = 3
SHARED_KEY = (
    f"CASE WHEN id = {SHARED_ID} THEN -1 - (day - date '{{start}}') / {DAYS_SHARING} "
    "ELSE (day - date '{start}') * 100 + id END"
)
"""The expression for a row's key: unique in the whole table, except for the shared rows."""
_FIRST_TICK = "02:30"


@dataclass(frozen=True)
class Table:
    """The settings of a dataset and of its target table."""

    source: str = "postgres"
    url_env: str = "SYNC_SOURCE_URL"
    max_connections: int | None = None
    write: str = "replace_day"
    key: bool = False
    partitioned: bool = False
    on_bad_row: str = "fail"
    progress: str | dict[str, int] = "every_day"
    parallel_days: int = 1
    look_back_days: int | None = None  # None: no schedule

    @property
    def replaces(self) -> bool:
        """Whether syncing a day replaces all of its rows."""
        return self.write == "replace_day"

    @property
    def can_resync(self) -> bool:
        """Whether a day that has rows can be synced again."""
        return self.write != "append_only" or self.key

    @property
    def statements(self) -> list[str]:
        """The names of the statements in `world.sql` that create the target table."""
        if self.partitioned:
            return ["target_partitioned"]
        kind = "target_replaced" if self.replaces else "target_kept"
        return ["target_of", kind, *(["target_key"] if self.key else [])]

    def defs(self, name: str, first: date, last: date) -> str:
        """Return the `defs.yaml` of the dataset `name`."""
        source: dict[str, object] = {
            "type": self.source,
            "url_env": self.url_env,
            "table": f"{name}_source",
            "day_column": "day",
        }
        if self.max_connections is not None:
            source["max_connections"] = self.max_connections
        target: dict[str, object] = {
            "table": name,
            "write": self.write,
            "lock_timeout_seconds": 1.5,
            "on_bad_row": self.on_bad_row,
        }
        if self.key:
            target["key"] = ["key"]
        attributes: dict[str, object] = {
            "start_date": str(first),
            "end_date": str(last),
            "source": source,
            "target": target,
            "progress": self.progress,
            "parallel_days": self.parallel_days,
        }
        if self.look_back_days is not None:
            attributes["schedule"] = SCHEDULE | {"look_back_days": self.look_back_days}
        return json.dumps({"type": "sync_pipeline.DailySync", "attributes": attributes}, indent=1)


SCHEDULE = {
    "at": _FIRST_TICK,
    "enabled": False,  # the rounds evaluate it; the daemon of a full Dagster must not
    "catch_up": "last",  # the rounds expect exactly the look-back days
    "retry_every_minutes": 30,
    "retry_until": "09:30",
}
TICKS = Schedule.model_validate(SCHEDULE).ticks()
"""The times of day of the nightly run and of its retries."""

TABLES = {
    "orders": Table(look_back_days=5),
    "events": Table(on_bad_row="quarantine", progress="auto", look_back_days=0),
    "visits": Table(progress={"percent": 20}, parallel_days=3, look_back_days=11),
    "clicks": Table(
        source="sql",
        url_env="SYNC_SQL_URL",
        on_bad_row="quarantine",
        progress="auto",
        parallel_days=2,
    ),
    "accounts": Table(write="upsert", key=True, parallel_days=2, look_back_days=6),
    "ledger": Table(write="append_only", key=True, on_bad_row="quarantine", progress="auto"),
    "journal": Table(write="append_only"),
    "metrics": Table(partitioned=True, look_back_days=3),
    "readings": Table(url_env="SYNC_LIMITED_URL", max_connections=2, parallel_days=2),
}
DATASETS = tuple(TABLES)
