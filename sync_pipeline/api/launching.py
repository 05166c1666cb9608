"""Launching a batch, taking one up again, cancelling one: the record first, then Dagster.

One at a time for each batch, whichever process of the API does it. The record is `syncing` before
Dagster has heard of it; if Dagster cannot be reached it is closed as not run. One that is taken up
again is `syncing` once Dagster has the run; if it cannot be reached, the record stands as it was.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from sync_pipeline.api import runs
from sync_pipeline.api.problems import ProblemError, no_record
from sync_pipeline.api.security.tokens import Caller
from sync_pipeline.api.services import Services
from sync_pipeline.api.write_connection import transaction, writing
from sync_pipeline.dagster_client.tags import BATCH_JOB_NAME, BATCH_KEY_TAG, TRIGGERED_BY_TAG
from sync_pipeline.errors import NoResponseError, RequestError, SyncError, one_line
from sync_pipeline.tracking.models import NewBatch
from sync_pipeline.tracking.read import history, reports
from sync_pipeline.tracking.read.history import Record
from sync_pipeline.tracking.retry_rules import check_retry
from sync_pipeline.tracking.state import requests

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_START_SECONDS = 20.0  # a run that is starting cannot be told to end before it has
_END_SECONDS = 15.0  # one whose days are done ends a moment later
_LOOK_SECONDS = 0.3
_LAUNCH_SECONDS = 60.0
_HELD_SECONDS = 15.0  # while the record is held, which others may have to wait for


@dataclass(frozen=True)
class Launched:
    """A batch's record, and its run if it is known. `again`: it had been launched before."""

    record: Record
    run_id: str | None
    again: bool = False


def launch(
    given: Services, caller: Caller, dataset: str, days: Sequence[date], *, resync: bool, key: str
) -> Launched:
    """Open a batch's record and launch it; the same `key` of the same caller does it once.

    Raises ProblemError 409 if the key was used for something else, 503 if Dagster cannot be
    reached.
    """
    who = f"{caller.name}, API"
    batch_key = f"{requests.KEY_PREFIX}{_uuid(caller, key)}"
    new = NewBatch(batch_key, dataset, days, None, who, resync)
    with writing(given) as cursor, requests.one_at_a_time(cursor, batch_key):
        known = requests.find(cursor, batch_key)
        if known is not None:
            record = _record(cursor, known)
            _refuse_other(record, new)
            launched = runs.runs_of(given.dagster, batch_key)
            if launched or record.run_id is not None:
                run_id = launched[0].run_id if launched else record.run_id
                return Launched(record, run_id, again=True)
        else:
            known = requests.open_batch(cursor, new)
        run_id = _launch_or_withdraw(given, cursor, _record(cursor, known), who)
        return Launched(_record(cursor, known), run_id)


def retry_batch(given: Services, caller: Caller, record_id: int) -> Launched:
    """Launch the unfinished days of a batch again, in its own record.

    Raises ProblemError 404 if there is none, 409 if it cannot be, 503 if Dagster cannot be reached.
    """
    with writing(given) as cursor:
        key = _batch_key(_record(cursor, record_id), "retried")
        with requests.one_at_a_time(cursor, key):
            _wait_until_over(given, cursor, key, record_id)
            run_id = _wait_again(given, cursor, _record(cursor, record_id), f"{caller.name}, API")
            return Launched(_record(cursor, record_id), run_id)


def cancel(given: Services, caller: Caller, record_id: int) -> Record:
    """Withdraw what of a batch nobody has begun, and tell its runs to end; return its record.

    The day in work rolls back, a moment later. Raises ProblemError 404 if there is no such batch,
    409 if it is not at work or cannot be cancelled from here, StackError without Dagster.
    """
    with writing(given) as cursor:
        key = _batch_key(_record(cursor, record_id), "cancelled")
        with requests.one_at_a_time(cursor, key):
            if _record(cursor, record_id).status != "syncing":
                raise ProblemError(
                    409,
                    "batch_not_running",
                    f"batch {record_id} is not at work; there is nothing to cancel",
                    id=record_id,
                )
            backfills = _open_backfills(given, key)
            at_work = _runs_to_end(given, key)
            why = f"cancelled by {caller.name} over the API"
            try:
                with transaction(cursor):
                    requests.withdraw(cursor, record_id, why, cancelled_by=caller.name)
            except RequestError as error:
                raise ProblemError.of(error, 409) from None
            for backfill in backfills:
                runs.cancel_backfill(given.dagster, backfill)
            runs.end_runs(given.dagster, at_work)
            return _record(cursor, record_id)


def _uuid(caller: Caller, key: str) -> uuid.UUID:
    """Return the same for the same caller and key; for no key, another each time."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{caller.name}:{key}") if key else uuid.uuid4()


def _launch_or_withdraw(given: Services, cursor: "Cursor", record: Record, who: str) -> str:
    try:
        return _launch(given, record, who)
    except SyncError as error:
        if _record(cursor, record.id).status == "syncing":
            with transaction(cursor):
                requests.withdraw(cursor, record.id, one_line(error))
        if isinstance(error, NoResponseError):
            raise ProblemError(
                503,
                "launch_unknown",
                f"whether batch {record.id} was launched is not known: {one_line(error)}; its "
                "record is closed as not run, and goes on if it was",
                id=record.id,
            ) from None
        raise ProblemError(
            503,
            "not_launched",
            f"batch {record.id} was not launched: {one_line(error)}; its record says so; "
            "retry it when Dagster runs",
            id=record.id,
        ) from None


def _wait_again(given: Services, cursor: "Cursor", record: Record, who: str) -> str:
    """Let the days of `record` that failed wait again, and launch them; return the run's id.

    In one transaction: whatever goes wrong, even with this process, the record is as it was. A run
    that was launched all the same lets them wait by itself, and waits for the end of this.
    """
    try:
        with transaction(cursor):
            requests.retry_batch(cursor, record.id, who)
            return _launch(given, record, who, timeout_seconds=_HELD_SECONDS)
    except NoResponseError as error:
        raise ProblemError(
            503,
            "retry_unknown",
            f"whether batch {record.id} was taken up again is not known: {one_line(error)}; its "
            "record stands as it was, and goes on if it was",
            id=record.id,
        ) from None
    except RequestError as error:
        if error.code == "nothing_unfinished":
            raise ProblemError.of(error, 409) from None
        raise _not_retried(record, error) from None
    except SyncError as error:
        raise _not_retried(record, error) from None


def _not_retried(record: Record, error: SyncError) -> ProblemError:
    return ProblemError(
        503,
        "not_retried",
        f"batch {record.id} was not taken up again: {one_line(error)}; its record stands as "
        "it was; retry it when Dagster runs",
        id=record.id,
    )


def _launch(
    given: Services, record: Record, who: str, *, timeout_seconds: float = _LAUNCH_SECONDS
) -> str:
    """Launch a run of the batch job for `record`; return its id. Raises SyncError."""
    config = {
        "dataset": record.dataset,
        "start_date": record.start_date.isoformat(),
        "end_date": record.end_date.isoformat(),
        "already_synced": record.already_synced or "skip",
    }
    tags = {BATCH_KEY_TAG: record.batch_key or "", TRIGGERED_BY_TAG: who}
    return given.dagster.launch_job(
        BATCH_JOB_NAME, config=config, tags=tags, timeout_seconds=timeout_seconds
    )


def _refuse_other(record: Record, new: NewBatch) -> None:
    asked = (new.dataset, min(new.days), max(new.days), "resync" if new.resync else "skip")
    if asked != (record.dataset, record.start_date, record.end_date, record.already_synced):
        raise ProblemError(
            409,
            "idempotency_key_reused",
            f"this Idempotency-Key launched batch {record.id}, which is another request; "
            "use a new key for a new request",
            field="Idempotency-Key",
            id=record.id,
        )


def _wait_until_over(given: Services, cursor: "Cursor", key: str, record_id: int) -> None:
    """Wait for the run of a batch that has just closed. Raises ProblemError 409 if one works on."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        progress = reports.progress(cursor, str(record_id))
        try:
            if progress is not None:
                check_retry(progress)
        except RequestError as error:
            raise ProblemError.of(error, 409) from None
        at_work = [run for run in runs.runs_of(given.dagster, key) if run.at_work]
        if not at_work:
            return
        if time.monotonic() > deadline:
            raise ProblemError(
                409,
                "batch_running",
                f"batch {record_id}: run {at_work[0].run_id} is at work on it already",
                id=record_id,
            )
        time.sleep(_LOOK_SECONDS)


def _open_backfills(given: Services, key: str) -> list[str]:
    """Return the backfills of a batch that may still launch runs."""
    at_work = {run.backfill_id for run in runs.runs_of(given.dagster, key) if run.at_work}
    named = {key, *at_work} - {None}
    return [one for one in named if one and runs.is_backfill_at_work(given.dagster, one)]


def _runs_to_end(given: Services, key: str) -> list[runs.Run]:
    """Return the runs at work on a batch, once all of them can be told to end."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        at_work = [run for run in runs.runs_of(given.dagster, key) if run.at_work]
        for run in at_work:
            if run.by_command:
                raise ProblemError(
                    409,
                    "by_command_line",
                    f"run {run.run_id} works in the process of a command line, which Dagster "
                    "cannot end; stop it there with Ctrl-C",
                    run=run.run_id,
                )
        if all(run.can_end for run in at_work):
            return at_work
        if time.monotonic() > deadline:
            raise ProblemError(
                503,
                "run_starting",
                "a run of the batch is just starting or ending; try again in a moment",
                headers={"Retry-After": "5"},
            )
        time.sleep(_LOOK_SECONDS)


def _record(cursor: "Cursor", record_id: int) -> Record:
    found = history.record(cursor, record_id)
    if found is None:
        raise no_record(record_id)
    return found


def _batch_key(record: Record, what: str) -> str:
    if record.kind != "batch":
        raise ProblemError(
            409,
            "not_a_batch",
            f"record {record.id} is a day's; only a batch can be {what}",
            id=record.id,
        )
    if record.batch_key is None:
        raise ProblemError(
            409,
            "unmanaged_batch",
            f"batch {record.id} was written by hand, not by the pipeline; it cannot be {what}",
            id=record.id,
        )
    return record.batch_key
