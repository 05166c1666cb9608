"""A dataset: one source table and the table it is synced into, as its `defs.yaml` describes it.

These models are the meaning of the YAML and travel, frozen, through every layer. They hold no
secret: a connection is named by the environment variable that carries its URL. The defaults and
the allowed values stand here and nowhere else; the component and the documents read them here.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from sync_pipeline.config.reserved_tables import OWN_TABLES
from sync_pipeline.config.sources import AnySource
from sync_pipeline.config.sources.common import PositiveSeconds, StrictModel, TableName
from sync_pipeline.errors import RequestError

_TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"
_DATASET_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or the name of a folder
        raise ValueError(
            f"{name!r} is not an IANA time zone, such as Asia/Shanghai or UTC"
        ) from None
    return name


def _dataset_name(name: str) -> str:
    if not _DATASET_NAME.match(name):
        raise ValueError(
            "must be lower-case letters, digits and _, begin with a letter, and be at most "
            "63 characters, such as daily_orders"
        )
    return name


def _in_schema(table: str) -> str:
    return table if "." in table else f"public.{table}"


def _not_our_own(table: str) -> str:
    if _in_schema(table) in map(_in_schema, OWN_TABLES):
        raise ValueError(
            f"{table!r} is a table in which sync-pipeline keeps its own records; name another"
        )
    return table


# For `dg check yaml`, which reads the JSON schema: YAML gives a date, JSON knows only text.
Day = Annotated[
    date, WithJsonSchema({"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})
]
DatasetName = Annotated[str, AfterValidator(_dataset_name)]
TimezoneName = Annotated[str, AfterValidator(_known_timezone)]


class PostgresTarget(StrictModel):
    """The table the rows are synced into, in the database of `SYNC_DATABASE_URL`."""

    table: Annotated[TableName, AfterValidator(_not_our_own)] = Field(
        description="target table, or schema.table; created if missing"
    )
    write: Literal["replace_day", "upsert", "append_only"] = Field(
        default="replace_day",
        description="how a day's rows are written: in the place of the day's rows, of the rows "
        "with the same key, or besides what is there",
    )
    key: tuple[str, ...] = Field(
        default=(),
        description="for upsert and append_only: the columns that tell a row from every other",
    )
    on_lock_conflict: Literal["wait", "fail"] = Field(
        default="wait",
        description="whether a day that another worker holds is waited for, or fails at once",
    )
    lock_timeout_seconds: PositiveSeconds = Field(
        default=30, description="how long to wait for a day another worker holds, or for a table"
    )
    statement_timeout_seconds: PositiveSeconds = 3600
    on_schema_change: Literal["fail", "add_columns"] = Field(
        default="fail",
        description="whether a column that the source gained or lost fails, or is added to the "
        "table, or left empty in it",
    )
    on_bad_row: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="whether a row that the table does not take fails its day, or is kept in "
        "sync_rejected_row and the others loaded",
    )
    max_rejected_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1000, description="with quarantine: a day with more such rows fails all the same"
    )

    @model_validator(mode="after")
    def _key_where_it_is_used(self) -> "PostgresTarget":
        if self.write == "upsert" and not self.key:
            raise ValueError(
                "write: upsert needs 'key', the columns that tell a row from every other, such as "
                "key: [id]"
            )
        if self.write == "replace_day" and self.key:
            raise ValueError(
                "write: replace_day replaces whole days and has no use for 'key'; remove it, or "
                "set write: upsert or append_only"
            )
        twice = next((name for name in self.key if self.key.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"'key' names column {twice!r} twice; name it once")
        return self

    @property
    def full_name(self) -> str:
        """The table with its schema, which is PostgreSQL's usual one if none is given."""
        return _in_schema(self.table)


class Retry(StrictModel):
    """How often a day is tried in all, while connections are lost or locks not got in time."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="how often a day is tried; 1: never again"
    )
    initial_backoff_seconds: PositiveSeconds = Field(
        default=1, description="the pause before the second try; it doubles with each, up to 30"
    )


class Every(StrictModel):
    """Progress is written after every so many days."""

    days: Annotated[int, Field(ge=1)]


class Percent(StrictModel):
    """Progress is written after every so many percent of the batch's days."""

    percent: Annotated[int, Field(ge=1, le=100)]


def _progress(given: Any, _handler: object) -> Any:
    """Choose by the key that is given: of a union, each branch would answer what is wrong."""
    for policy in (Every, Percent):
        if isinstance(given, policy):
            return given
        if isinstance(given, dict) and set(given) == set(policy.model_fields):
            return policy.model_validate(given)
    if given not in ("every_day", "auto"):
        raise ValueError("must be every_day, auto, {days: 10} or {percent: 5}")
    return given


Progress = Annotated[Literal["every_day", "auto"] | Every | Percent, WrapValidator(_progress)]


def _time_of_day(given: Any) -> Any:
    if not isinstance(given, str) or not re.fullmatch(_TIME_OF_DAY, given):
        raise ValueError(
            "must be a time of day from 00:00 to 23:59 in quotes, such as '02:30'; without them, "
            "YAML reads 12:30 as the number 750"
        )
    return given


# The pattern is for `dg check yaml`, which reads the JSON schema.
TimeOfDay = Annotated[str, Field(pattern=_TIME_OF_DAY), BeforeValidator(_time_of_day)]


class Schedule(StrictModel):
    """A nightly run over the last finished day and some days before it."""

    at: TimeOfDay = Field(description="time of day HH:MM in the dataset's time zone")
    look_back_days: Annotated[int, Field(ge=0, le=366)] = Field(
        default=0, description="how many earlier days are synced again, for late rows"
    )
    enabled: bool = Field(default=True, description="whether it is on when first loaded")
    retry_every_minutes: Annotated[int, Field(ge=5, le=720)] | None = Field(
        default=None, description="how often days of the night that failed are tried again"
    )
    retry_until: TimeOfDay | None = Field(
        default=None, description="time of the same day, HH:MM, after which they no longer are"
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "Schedule":
        if (self.retry_every_minutes is None) != (self.retry_until is None):
            raise ValueError("give both 'retry_every_minutes' and 'retry_until', or neither")
        if self.retry_until is not None and self.retry_until <= self.at:
            raise ValueError(f"retry_until {self.retry_until} must be later than at {self.at}")
        return self

    def ticks(self) -> list[str]:
        """Return the times of day, HH:MM, at which it looks; the first is `at`."""
        found, last = [_minutes(self.at)], _minutes(self.retry_until or self.at)
        while self.retry_every_minutes and found[-1] + self.retry_every_minutes <= last:
            found.append(found[-1] + self.retry_every_minutes)
        return [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in found]


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


class Volume(StrictModel):
    """How many rows a day must have, compared with the days before it."""

    warn_below: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="warn when a day has fewer rows than this fraction of the median of the 28 "
        "days before it; 0: never",
    )


class DatasetSettings(StrictModel):
    """What a `defs.yaml` says. `start_date` and `end_date` are days in `timezone`, included."""

    description: str = ""
    start_date: Day
    end_date: Day | None = None
    timezone: TimezoneName = "UTC"
    source: AnySource
    target: PostgresTarget
    backfill: Literal["single_run"] | Annotated[int, Field(ge=1)] = Field(
        default="single_run",
        description="single_run, or how many days each run of a backfill takes",
    )
    parallel_days: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1, description="how many days a run syncs at once, each over its own connections"
    )
    retry: Retry = Retry()
    progress: Progress = "every_day"
    volume: Volume = Volume()
    schedule: Schedule | None = None

    @model_validator(mode="after")
    def _dates_in_order(self) -> "DatasetSettings":
        if self.end_date is not None and self.end_date < self.start_date:
            raise ValueError(f"end_date {self.end_date} is before start_date {self.start_date}")
        return self


class Dataset(DatasetSettings):
    """One dataset: its name, which is the name of its folder, and its settings."""

    name: DatasetName

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def as_json(self) -> dict[str, Any]:
        """Return what was given of it, as JSON knows it, for `model_validate` to read back.

        Without the defaults, since some keys must not stand beside others, whatever they say; but
        always with the source's type, by which the others are read.
        """
        written = self.model_dump(mode="json", exclude_unset=True)
        written["source"]["type"] = self.source.type
        return written

    def last_day(self, now: datetime) -> date:
        """Return the last day that is over at `now` (an aware time), or `end_date` if earlier."""
        yesterday = now.astimezone(self.zone).date() - timedelta(days=1)
        return yesterday if self.end_date is None else min(self.end_date, yesterday)

    def days(self, start: date, end: date, now: datetime) -> list[date]:
        """Return the days from `start` to `end`, both included, oldest first.

        Raises RequestError if the two are reversed, before the dataset's first day, or after its
        last finished day at `now`.
        """
        if end < start:
            raise RequestError(
                f"dataset {self.name}: the range {start} to {end} is reversed; "
                f"put the earlier date first: {end} {start}",
                "days_reversed",
                first=str(start),
                last=str(end),
            )
        if start < self.start_date:
            raise RequestError(
                f"dataset {self.name}: {start} is before its first day {self.start_date}; "
                f"start at {self.start_date}, or set an earlier start_date in its defs.yaml",
                "before_first_day",
                dataset=self.name,
                day=str(start),
                first_day=str(self.start_date),
            )
        last = self.last_day(now)
        if end > last:
            why = (
                f"its end_date is {self.end_date}"
                if self.end_date is not None and last == self.end_date
                else f"the last finished day in {self.timezone} is {last}"
            )
            raise RequestError(
                f"dataset {self.name}: {end} cannot be synced yet, {why}; end at {last} or earlier",
                "after_last_day",
                dataset=self.name,
                day=str(end),
                last_day=str(last),
            )
        return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def find_dataset(datasets: Sequence[Dataset], name: str | None) -> Dataset:
    """Return the dataset called `name`, or the only one. Raises RequestError naming those there."""
    known = ", ".join(sorted(dataset.name for dataset in datasets))
    if not datasets:
        raise RequestError(
            "there is no dataset yet; add sync_pipeline/datasets/<name>/defs.yaml (see the README)",
            "no_dataset_yet",
        )
    if name is None and len(datasets) > 1:
        raise RequestError(f"name the dataset, one of: {known}", "name_the_dataset", known=known)
    for dataset in datasets:
        if name in (None, dataset.name):
            return dataset
    raise RequestError(
        f"there is no dataset {name!r}; known are: {known}",
        "no_such_dataset",
        dataset=name or "",
        known=known,
    )


def parse_day(text: str, what: str) -> date:
    """Return the date in `text`, written YYYY-MM-DD. Raises RequestError naming `what`."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{what}: {text!r} is not a date; write it as 2025-10-01") from None
