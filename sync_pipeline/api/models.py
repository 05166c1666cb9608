"""What the API takes and gives, as its OpenAPI document says it."""

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

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
        raise ValueError(str(error).removeprefix("the day: ")) from None


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
    """What every success is in."""

    status: Literal["success"] = "success"
    data: _T


class RecordOut(BaseModel):
    """A record: every column of daily_sync_status (docs/contract.md), and a batch's progress."""

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
    created_at: datetime
    updated_at: datetime
    change: int = Field(description="rises with every change of the record")
    done_days: int | None = Field(description="of a batch, as the four below")
    percent: float | None
    rows_per_second: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None
    dagster_url: str | None = Field(description="the run or backfill in Dagster's UI")

    @classmethod
    def of(cls, record: Record, links: Links) -> "RecordOut":
        """Return `record` as the API gives it."""
        return cls(**vars(record), dagster_url=links.record(record))


class ListOut(BaseModel):
    """One page of a list."""

    records: list[RecordOut]
    total: int = Field(description="of the whole list; exact up to 10,000")
    total_is_estimate: bool
    page: int | None = Field(description="null for a page that was asked for by 'after'")
    page_size: int
    next: str | None = Field(description="'after' of the next page; null at the end")


class DayOut(BaseModel):
    """The standing attempt at one day of a batch."""

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
    """One attempt. `superseded`: a later one of the same batch stands in its place."""

    superseded: bool
    batch_id: int | None
    triggered_by: str | None


class DetailOut(BaseModel):
    """A record with what is behind it: a batch's days and attempts, or a day's in all batches."""

    record: RecordOut
    days: list[DayOut]
    attempts: list[AttemptOut] = Field(
        description="the newest first, at most 1000; if a batch has more, those that another took "
        "the place of, and then those that stand, which are its days"
    )


class CoveredDayOut(BaseModel):
    """A day of a dataset. `rows` are those loaded, null for a day without a record.

    `change` is its record's: of two copies of a day, the one with the higher is the later.
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


class CoverageOut(BaseModel):
    """Every day of a range, oldest first. `first_day` and `last_day` are the dataset's own."""

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
    dataset: DatasetName | None = Field(default=None, description="not needed if there is only one")
    already_synced: AlreadySynced = Field(default="skip", description="what of days that are in")


class LaunchedOut(BaseModel):
    """A batch that was launched. `run_id` is null while it is not known."""

    record: RecordOut
    record_id: int
    batch_key: str
    run_id: str | None
    dagster_url: str | None


class RecordDataOut(BaseModel):
    """One record."""

    record: RecordOut


class DayCountsOut(BaseModel):
    """Days of a request. If it is refused, all of them are."""

    total: int
    to_sync: int
    skipped: int
    refused: int


class RangesOut(BaseModel):
    """Days as stretches, first and last included."""

    to_sync: list[tuple[date, date]]
    skipped: list[tuple[date, date]]


class PreviewOut(BaseModel):
    """What launching would mean now."""

    dataset: str
    days: DayCountsOut
    ranges: RangesOut
    refused_because: str | None = None
    field: str | None = Field(default=None, description="which field it is refused for")
    code: str | None = Field(default=None, description="why it is refused, as in a problem")
    params: dict[str, str | int] | None = Field(default=None, description="as in a problem")


class DatasetOut(BaseModel):
    """A dataset: its days, first to last finished, and where its rows come from and go."""

    name: str
    description: str
    first_day: date
    last_day: date = Field(description="the last finished day; before first_day if none is")
    timezone: str
    source: str
    target: str
    schedule: str | None = Field(description="when it is synced every night, in words")


class DatasetsOut(BaseModel):
    """All datasets, by name."""

    datasets: list[DatasetOut]


class MeOut(BaseModel):
    """Who is asking, and what a browser shows with each write."""

    role: Literal["reader", "operator"]
    user: str
    csrf_token: str


class SessionIn(BaseModel):
    """A token, for which the page gets a session."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(min_length=1, max_length=500)]


class HealthOut(BaseModel):
    """Whether a part is well, and what it says."""

    ready: bool
    database: str
    dagster: str
