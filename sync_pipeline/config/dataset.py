"""The models for a dataset's `defs.yaml`: its source, and the table that it is synced to.

All keys, defaults and allowed values are defined here and in `sources/`; docs/datasets.md is
generated from them. The models are frozen and contain no secrets: a URL or key is given as the name
of an environment variable. Does not read YAML files: see `orchestration/component.py`.
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
from sync_pipeline.config.sources.strict_model import PositiveSeconds, StrictModel, TableName
from sync_pipeline.errors import RequestError

_TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"
_DATASET_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or a folder such as America
        raise ValueError(
            f"{name!r} is not an IANA time zone, such as Asia/Shanghai or UTC"
        ) from None
    return name


def _dataset_name(name: str) -> str:
    if not _DATASET_NAME.match(name):
        raise ValueError(
            "must consist of lower-case letters, digits and _, begin with a letter, and have at "
            "most 63 characters, such as daily_orders"
        )
    return name


def _qualify(table: str) -> str:
    return table if "." in table else f"public.{table}"


def _not_reserved(table: str) -> str:
    if _qualify(table) in map(_qualify, OWN_TABLES):
        raise ValueError(
            f"{table!r} is reserved for sync-pipeline's own records; use another table"
        )
    return table


# `dg check yaml` validates against the JSON schema, in which a date is a string.
Day = Annotated[
    date, WithJsonSchema({"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})
]
DatasetName = Annotated[str, AfterValidator(_dataset_name)]
TimezoneName = Annotated[str, AfterValidator(_known_timezone)]


class PostgresTarget(StrictModel):
    """The table that the rows are written to, in the database in `SYNC_DATABASE_URL`."""

    table: Annotated[TableName, AfterValidator(_not_reserved)] = Field(
        description="target table, as `table` or `schema.table`; created if it does not exist"
    )
    write: Literal["replace_day", "upsert", "append_only"] = Field(
        default="replace_day",
        description="what happens to existing rows: `replace_day` replaces all rows of the day, "
        "`upsert` updates rows with the same key, `append_only` never changes existing rows",
    )
    key: tuple[str, ...] = Field(
        default=(),
        description="the columns that identify a row; required for `upsert`, optional for "
        "`append_only`",
    )
    on_lock_conflict: Literal["wait", "fail"] = Field(
        default="wait",
        description="what to do with a day that another worker is loading: `wait` waits up to "
        "`lock_timeout_seconds`, `fail` fails the day immediately",
    )
    lock_timeout_seconds: PositiveSeconds = Field(
        default=30, description="how long to wait for a lock on the day or the table"
    )
    statement_timeout_seconds: PositiveSeconds = Field(
        default=3600, description="how long a single statement may take, such as the COPY of a day"
    )
    on_schema_change: Literal["fail", "add_columns"] = Field(
        default="fail",
        description="what to do if the source's columns have changed: `fail` fails the day, "
        "`add_columns` adds new columns to the table and writes NULL to columns that the source "
        "no longer has",
    )
    on_bad_row: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="what to do with a row that the table rejects: `fail` fails the day, "
        "`quarantine` stores the row in `sync_rejected_row` and loads the other rows",
    )
    max_rejected_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1000,
        description="with `quarantine`, the maximum number of rejected rows in a day; a day with "
        "more fails",
    )

    @model_validator(mode="after")
    def _check_key(self) -> "PostgresTarget":
        if self.write == "upsert" and not self.key:
            raise ValueError(
                "write: upsert needs 'key', the columns that identify a row, such as key: [id]"
            )
        if self.write == "replace_day" and self.key:
            raise ValueError(
                "write: replace_day replaces whole days and does not use 'key'; remove it, or "
                "set write: upsert or append_only"
            )
        duplicate = next((name for name in self.key if self.key.count(name) > 1), None)
        if duplicate is not None:
            raise ValueError(f"'key' contains column {duplicate!r} twice; remove one of them")
        return self

    @property
    def full_name(self) -> str:
        """The table with its schema, by default `public`."""
        return _qualify(self.table)


class Retry(StrictModel):
    """How a day is retried after a transient error, such as a lost connection or a lock timeout."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="maximum number of attempts for a day; 1 disables retries"
    )
    initial_backoff_seconds: PositiveSeconds = Field(
        default=1,
        description="how long to wait before the second attempt; the wait doubles for each further "
        "attempt, up to 30 seconds",
    )


class Every(StrictModel):
    """Progress is written each time this many days have finished."""

    days: Annotated[int, Field(ge=1, description="number of days")]


class Percent(StrictModel):
    """Progress is written each time this percentage of the batch's days has finished."""

    percent: Annotated[int, Field(ge=1, le=100, description="percentage of the batch's days")]


def _progress(value: Any, _handler: object) -> Any:
    """Parse `progress`; the key of a mapping selects its model.

    With a plain union, pydantic would report an error for every branch.
    """
    for policy in (Every, Percent):
        if isinstance(value, policy):
            return value
        if isinstance(value, dict) and set(value) == set(policy.model_fields):
            return policy.model_validate(value)
    if value not in ("every_day", "auto"):
        raise ValueError("must be every_day, auto, {days: 10} or {percent: 5}")
    return value


Progress = Annotated[Literal["every_day", "auto"] | Every | Percent, WrapValidator(_progress)]


def _time_of_day(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_TIME_OF_DAY, value):
        raise ValueError(
            "must be a time of day from 00:00 to 23:59 in quotes, such as '02:30'; without them, "
            "YAML reads 12:30 as the number 750"
        )
    return value


# The pattern is for `dg check yaml`, which validates against the JSON schema.
TimeOfDay = Annotated[str, Field(pattern=_TIME_OF_DAY), BeforeValidator(_time_of_day)]


class Schedule(StrictModel):
    """A nightly run that syncs the last finished day and the look-back days before it."""

    at: TimeOfDay = Field(
        description="time of the run, `'HH:MM'` in quotes, in the dataset's `timezone`"
    )
    look_back_days: Annotated[int, Field(ge=0, le=366)] = Field(
        default=0,
        description="how many earlier days are synced again, to pick up rows that arrived late",
    )
    catch_up: Literal["all", "last", "none"] = Field(
        default="all",
        description="what is synced after Dagster was stopped at night: `all` days since the last "
        "nightly run, in one batch; only the `last` day and the look-back days; or `none` until "
        "the next night",
    )
    catch_up_days: Annotated[int, Field(ge=1, le=3660)] = Field(
        default=31, description="how many days `catch_up: all` goes back at most"
    )
    enabled: bool = Field(
        default=True, description="whether the schedule is turned on when Dagster first loads it"
    )
    retry_every_minutes: Annotated[int, Field(ge=5, le=720)] | None = Field(
        default=None,
        description="interval at which failed days of the nightly run are retried; by default they "
        "are not retried",
    )
    retry_until: TimeOfDay | None = Field(
        default=None,
        description="time on the same day, `'HH:MM'`, until which failed days are retried",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "Schedule":
        if (self.retry_every_minutes is None) != (self.retry_until is None):
            raise ValueError("give both 'retry_every_minutes' and 'retry_until', or neither")
        if self.retry_until is not None and self.retry_until <= self.at:
            raise ValueError(
                f"'retry_until' ({self.retry_until}) must be later than 'at' ({self.at})"
            )
        return self

    def ticks(self) -> list[str]:
        """Return the times of day (HH:MM) at which the nightly run (`at`) and its retries start."""
        times, last = [_minutes(self.at)], _minutes(self.retry_until or self.at)
        while self.retry_every_minutes and times[-1] + self.retry_every_minutes <= last:
            times.append(times[-1] + self.retry_every_minutes)
        return [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in times]


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


class Volume(StrictModel):
    """How many rows a day is expected to have, compared with its previous sync and with the days
    before it, as they were before the run."""

    warn_below: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="warn if a day has fewer rows than this fraction of the rows that it had "
        "before, or of the median of the 28 days before it; 0 disables the warning",
    )
    fail_below: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0,
        description="fail a day that has fewer rows than this fraction, and keep its existing "
        "rows; 0 disables the check",
    )


class DatasetSettings(StrictModel):
    """The keys under `attributes:` in a `defs.yaml`."""

    description: str = Field(default="", description="description of the asset in Dagster")
    start_date: Day = Field(description="first day, such as `2025-01-01`")
    end_date: Day | None = Field(
        default=None, description="last day (inclusive); by default the dataset has no last day"
    )
    timezone: TimezoneName = Field(
        default="UTC",
        description="IANA time zone in which a day begins and ends, such as `Asia/Shanghai`",
    )
    source: AnySource = Field(description="where the rows are read from")
    target: PostgresTarget = Field(description="the table that the rows are written to")
    backfill: Literal["single_run"] | Annotated[int, Field(ge=1)] = Field(
        default="single_run",
        description="`single_run` syncs each day range of a backfill in one Dagster run; a number "
        "sets the maximum number of days per run",
    )
    parallel_days: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1,
        description="how many days a run syncs at the same time, each with its own connections",
    )
    retry: Retry = Field(default=Retry(), description="how a day is retried after transient errors")
    progress: Progress = Field(
        default="every_day",
        description="when a running batch updates its record: `every_day`, `{days: 10}`, "
        "`{percent: 5}`, or `auto` (every day in batches of up to 10 days, every 5 days in longer "
        "ones). With `every_day`, a batch of more than 10 days updates its record at most ten "
        "times per second",
    )
    volume: Volume = Field(default=Volume(), description="how many rows a day is expected to have")
    on_empty: Literal["accept", "fail"] = Field(
        default="accept",
        description="what happens to a day for which the source has no rows: `accept` syncs it as "
        "an empty day; `fail` keeps its existing rows",
    )
    schedule: Schedule | None = Field(
        default=None, description="the nightly run; by default there is none"
    )

    @model_validator(mode="after")
    def _dates_in_order(self) -> "DatasetSettings":
        if self.end_date is not None and self.end_date < self.start_date:
            raise ValueError(f"end_date {self.end_date} is before start_date {self.start_date}")
        return self


class Dataset(DatasetSettings):
    """A dataset: the keys of its `defs.yaml`, and its name, which is the name of its folder."""

    name: DatasetName = Field(description="the name of the dataset's folder")

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def as_json(self) -> dict[str, Any]:
        """Return the keys that were set, as JSON values that `model_validate` accepts.

        Keys that were not set are left out, because some keys exclude each other even when one is
        set to its default. The source's type is always included, because it determines which
        model parses the other keys.
        """
        written = self.model_dump(mode="json", exclude_unset=True)
        written["source"]["type"] = self.source.type
        return written

    def last_day(self, now: datetime) -> date:
        """Return the last finished day at `now` (an aware datetime), capped at `end_date`."""
        yesterday = now.astimezone(self.zone).date() - timedelta(days=1)
        return yesterday if self.end_date is None else min(self.end_date, yesterday)

    def days(self, start: date, end: date, now: datetime) -> list[date]:
        """Return the days from `start` to `end`, both included, oldest first.

        Raises RequestError if the range is reversed, begins before the dataset's first day, or ends
        after its last finished day at `now`.
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
                f"the dataset's end_date is {self.end_date}"
                if self.end_date is not None and last == self.end_date
                else f"the last finished day in {self.timezone} is {last}"
            )
            raise RequestError(
                f"dataset {self.name}: {end} cannot be synced: {why}; end at {last} or earlier",
                "after_last_day",
                dataset=self.name,
                day=str(end),
                last_day=str(last),
            )
        return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def find_dataset(datasets: Sequence[Dataset], name: str | None) -> Dataset:
    """Return the dataset named `name` or, if `name` is None, the only dataset.

    Raises RequestError with a list of the known datasets if there is no such dataset.
    """
    known = ", ".join(sorted(dataset.name for dataset in datasets))
    if not datasets:
        raise RequestError(
            "there is no dataset yet; add sync_pipeline/datasets/<name>/defs.yaml (see README.md)",
            "no_dataset_yet",
        )
    if name is None and len(datasets) > 1:
        raise RequestError(
            f"several datasets exist; name one of: {known}", "name_the_dataset", known=known
        )
    for dataset in datasets:
        if name in (None, dataset.name):
            return dataset
    raise RequestError(
        f"dataset {name!r} not found; known datasets: {known}",
        "no_such_dataset",
        dataset=name or "",
        known=known,
    )


def parse_day(text: str, what: str) -> date:
    """Return the date in `text`.

    Raises RequestError if it is not YYYY-MM-DD; the message begins with `what`.
    """
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(
            f"{what}: {text!r} is not a date; use YYYY-MM-DD, for example 2025-10-01"
        ) from None
