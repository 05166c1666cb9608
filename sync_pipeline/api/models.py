"""The request and response models of the API, with their descriptions for the OpenAPI document.

Does not contain the problem model: see `problems.py`.
"""

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from sync_pipeline.api.links import Links
from sync_pipeline.config.dataset import parse_day
from sync_pipeline.errors import RequestError
from sync_pipeline.tracking.read.coverage import DayState
from sync_pipeline.tracking.read.history import Record

_T = TypeVar("_T")


def _day(value: Any) -> date:
    if isinstance(value, date):
        return value
    try:
        return parse_day(value if isinstance(value, str) else repr(value), "the day")
    except RequestError as error:
        message = str(error).removeprefix("the day: ")
        raise PydanticCustomError("invalid_date", "{message}", {"message": message}) from None


Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2025-10-01"]}),
]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", examples=["flights"])]
AlreadySynced = Literal["skip", "resync"]
Status = Literal["syncing", "success", "failed"]
Kind = Literal["batch", "day"]


class Envelope(BaseModel, Generic[_T]):
    """The envelope of every successful response."""

    status: Literal["success"] = "success"
    data: _T


class RecordOut(BaseModel):
    """A record: all columns of `daily_sync_status` (docs/contract.md) and a batch's progress."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 18,
                "sync_date": "2025-10-05",
                "status": "syncing",
                "total_records": 15000,
                "success_count": 2,
                "failed_count": 0,
                "remarks": "批量同步进度: 3/10天, 成功2, 失败0, 跳过1",
                "start_time": "2025-10-18T15:45:00Z",
                "dataset": "orders",
                "kind": "batch",
                "start_date": "2025-10-01",
                "end_date": "2025-10-10",
                "total_days": 10,
                "skipped_count": 1,
                "done_days": 3,
                "percent": 30.0,
            }
        }
    )
    id: int
    sync_date: date
    status: Status
    total_records: int
    success_count: int
    failed_count: int
    remarks: str | None
    error_message: str | None
    start_time: datetime
    end_time: datetime | None
    duration_seconds: int | None
    dataset: str
    kind: Kind
    batch_key: str | None
    start_date: date
    end_date: date
    total_days: int
    skipped_count: int
    attempt: int
    run_id: str | None
    triggered_by: str | None
    heartbeat_at: datetime | None
    already_synced: AlreadySynced | None
    retried_at: datetime | None
    cancelled_by: str | None
    standing_rows: int | None = Field(
        description="In a day's record: how many rows of the day the target contains, even if the "
        "latest attempt failed. Null if none were loaded, or if they are lost."
    )
    standing_since: datetime | None = Field(
        description="In a day's record: when these rows were loaded."
    )
    warning: str | None = Field(
        description="In a day's record: what is unusual about these rows, such as their number."
    )
    created_at: datetime
    updated_at: datetime
    change: int = Field(description="A number that increases whenever the record changes.")
    done_days: int | None = Field(description="Number of finished days; null in a day's record.")
    percent: float | None = Field(
        description="Percentage of finished days; null in a day's record."
    )
    rows_per_second: float | None = Field(description="Rows per second; null in a day's record.")
    eta_seconds: float | None = Field(
        description="Estimated seconds until a running batch ends; null in a day's record."
    )
    elapsed_seconds: float | None = Field(
        description="Seconds from the batch's start to its end or to now; null in a day's record."
    )
    dagster_url: str | None = Field(description="A link to the run or backfill in Dagster.")

    @classmethod
    def of(cls, record: Record, links: Links) -> "RecordOut":
        """Return `record` as a response model."""
        return cls(**vars(record), dagster_url=links.record(record))


class ListOut(BaseModel):
    """A page of records."""

    records: list[RecordOut]
    total: int = Field(description="The number of matching records; exact up to 10,000.")
    total_is_estimate: bool
    page: int | None = Field(description="Null if the page was requested with `after`.")
    page_size: int
    next: str | None = Field(
        description="The value to pass as `after` for the next page; null on the last page."
    )


class DayOut(BaseModel):
    """A day of a batch, with its latest attempt."""

    model_config = ConfigDict(from_attributes=True)
    sync_date: date
    state: Literal["pending", "syncing", "success", "failed", "skipped"]
    attempt: int | None
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    bytes: int
    duration_seconds: float | None
    error_message: str | None
    run_id: str | None
    started_at: datetime | None
    ended_at: datetime | None


class AttemptOut(DayOut):
    """An attempt to sync a day.

    `superseded` is true if the batch has a later attempt for that day.
    """

    superseded: bool
    batch_id: int | None
    triggered_by: str | None


class DetailOut(BaseModel):
    """A record with details: for a batch, its days and their attempts; for a day, its attempts in
    all batches."""

    record: RecordOut
    days: list[DayOut]
    attempts: list[AttemptOut] = Field(
        description="At most 1,000, newest first. If a batch has more, superseded attempts take "
        "precedence, because `days` already contains the current ones."
    )


class CoveredDayOut(BaseModel):
    """A day of a dataset. `rows` is the number of rows that the latest attempt loaded, or null if
    the day has no record. `standing_rows` is how many rows of the day the target contains.

    `change` comes from the day's record: of two copies of a day, the one with the higher `change`
    is newer.
    """

    model_config = ConfigDict(from_attributes=True)
    day: date
    state: DayState
    rows: int | None
    rows_rejected: int | None
    duration_seconds: int | None
    end_time: datetime | None
    record_id: int | None
    error_message: str | None
    change: int | None
    standing_rows: int | None
    standing_since: datetime | None
    warning: str | None


class CoverageOut(BaseModel):
    """Every day of a range, oldest first.

    `first_day` is the dataset's first day, and `last_day` its last complete calendar day.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)
    dataset: str
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    first_day: date | None
    last_day: date | None
    counts: dict[DayState, int]
    days: list[CoveredDayOut]


class BatchIn(BaseModel):
    """A range of days to sync, both ends included."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"start_date": "2025-10-01", "end_date": "2025-10-10"}},
    )
    start_date: Day
    end_date: Day
    dataset: DatasetName | None = Field(
        default=None, description="Optional if there is only one dataset."
    )
    already_synced: AlreadySynced = Field(
        default="skip",
        description="Whether days that are already synced are skipped or synced again.",
    )


class LaunchedOut(BaseModel):
    """A launched batch. `run_id` is null until it is known."""

    record: RecordOut
    record_id: int
    batch_key: str
    run_id: str | None
    dagster_url: str | None


class RecordDataOut(BaseModel):
    """One record."""

    record: RecordOut


class DayCountsOut(BaseModel):
    """Day counts for a batch request. If the request is rejected, all its days count as
    `refused`."""

    total: int
    to_sync: int
    skipped: int
    refused: int


class RangesOut(BaseModel):
    """Day ranges, as pairs of first and last day."""

    to_sync: list[tuple[date, date]]
    skipped: list[tuple[date, date]]


class PreviewOut(BaseModel):
    """What launching this batch now would do."""

    dataset: str
    days: DayCountsOut
    ranges: RangesOut
    refused_because: str | None = Field(
        default=None, description="Why the launch would be rejected."
    )
    field: str | None = Field(default=None, description="The invalid field, if any.")
    code: str | None = Field(
        default=None, description="A stable identifier for the reason in `refused_because`."
    )
    params: dict[str, str | int] | None = Field(
        default=None,
        description="The values in the text of `refused_because`, as an object keyed by name.",
    )


class DatasetOut(BaseModel):
    """A dataset: its available days, source, target and schedule."""

    name: str
    description: str
    first_day: date
    last_day: date = Field(
        description="The last complete calendar day; earlier than `first_day` if there is none yet."
    )
    timezone: str
    source: str
    target: str
    schedule: str | None = Field(description="The daily schedule as text; null if there is none.")


class DatasetsOut(BaseModel):
    """All datasets, sorted by name."""

    datasets: list[DatasetOut]


class MeOut(BaseModel):
    """The caller."""

    role: Literal["reader", "operator"]
    user: str


class SessionIn(BaseModel):
    """A token to sign in with."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(min_length=1, max_length=500)]


class HealthOut(BaseModel):
    """Whether the server is ready, and the state of its database and of Dagster."""

    ready: bool
    database: str
    dagster: str
