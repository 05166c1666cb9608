"""Launches, retries and cancels batches: writes the record, then calls Dagster.

Requests for the same batch run one at a time, across all API processes. A launch sets the record to
`syncing` before it calls Dagster; if Dagster cannot be reached, the record is closed as not run. A
retry sets the record to `syncing` in a transaction that commits only after Dagster has accepted the
run; if Dagster cannot be reached, the record is unchanged. Does not contain the SQL: see
`tracking/state/requests.py`.
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
from sync_pipeline.api.write_connection import transaction, write_connection
from sync_pipeline.dagster_client.tags import (
    BATCH_JOB_NAME,
    BATCH_KEY_TAG,
    HIGH_PRIORITY,
    PRIORITY_TAG,
    TRIGGERED_BY_TAG,
)
from sync_pipeline.errors import NoResponseError, RequestError, SyncError, one_line
from sync_pipeline.tracking.models import BatchSpec
from sync_pipeline.tracking.read import history, reports
from sync_pipeline.tracking.read.history import Record
from sync_pipeline.tracking.retryable_batches import RetryRefusedError, check_retry
from sync_pipeline.tracking.state import requests

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

_START_TIMEOUT_SECONDS = 20.0  # a run cannot be terminated until it has started
_END_TIMEOUT_SECONDS = 15.0  # a run ends shortly after its last day
_POLL_SECONDS = 0.3
_MAX_DAYS_OF_HIGH_PRIORITY = 7  # a small batch does not wait for the runs of a large one
_LAUNCH_TIMEOUT_SECONDS = 60.0
_LOCKED_LAUNCH_TIMEOUT_SECONDS = 15.0  # short, because other requests may wait for the lock
_RESYNC_ADVICE = (
    "to sync its days again, launch a new batch with POST /api/v1/sync-status/sync/batch and "
    '"already_synced": "resync"'
)
_RETRY_ADVICE = {
    "batch_running": (
        "wait until it ends, or cancel it first with POST /api/v1/sync-status/{id}/cancel"
    ),
    "nothing_unfinished": _RESYNC_ADVICE,
    "unmanaged_batch": _RESYNC_ADVICE,
}
"""Advice to append to the error message for a rejected retry, by error code."""


@dataclass(frozen=True)
class Launched:
    """A batch's record and, if known, the ID of its run.

    `already_launched` is true if an earlier request with the same Idempotency-Key launched the
    batch.
    """

    record: Record
    run_id: str | None
    already_launched: bool = False


def launch(
    services: Services,
    caller: Caller,
    dataset: str,
    days: Sequence[date],
    *,
    resync: bool,
    key: str,
) -> Launched:
    """Open a record for a batch and launch the batch, at most once per caller and `key`.

    Raises ProblemError 409 if the key was used for a different request, or 503 if Dagster cannot
    be reached.
    """
    triggered_by = f"{caller.name}, API"
    batch_key = f"{requests.KEY_PREFIX}{_uuid(caller, key)}"
    new = BatchSpec(batch_key, dataset, days, None, triggered_by, resync)
    with write_connection(services) as cursor, requests.lock_batch_key(cursor, batch_key):
        known = requests.find(cursor, batch_key)
        if known is not None:
            record = _record(cursor, known)
            _check_same_request(record, new)
            found = runs.runs_of(services.dagster, batch_key)
            if found or record.run_id is not None:
                run_id = found[0].run_id if found else record.run_id
                return Launched(record, run_id, already_launched=True)
        else:
            known = requests.open_batch(cursor, new)
        run_id = _launch_or_close(services, cursor, _record(cursor, known), triggered_by)
        return Launched(_record(cursor, known), run_id)


def retry_batch(services: Services, caller: Caller, record_id: int) -> Launched:
    """Launch the unfinished days of a batch again, under the same record.

    Raises ProblemError 404 if the record does not exist, 409 if it cannot be retried, or 503 if
    Dagster cannot be reached.
    """
    with write_connection(services) as cursor:
        key = _batch_key(_record(cursor, record_id), "retried")
        with requests.lock_batch_key(cursor, key):
            _wait_for_last_run(services, cursor, key, record_id)
            run_id = _launch_retry(
                services, cursor, _record(cursor, record_id), f"{caller.name}, API"
            )
            return Launched(_record(cursor, record_id), run_id)


def cancel(services: Services, caller: Caller, record_id: int) -> Record:
    """Cancel the pending days of a batch and terminate its runs; return its record.

    The day in progress is rolled back shortly afterwards. Raises ProblemError 404 if the record
    does not exist, 409 if the batch is not running or cannot be cancelled, or 503 while a run is
    starting or ending. Raises StackError if Dagster does not respond.
    """
    with write_connection(services) as cursor:
        key = _batch_key(_record(cursor, record_id), "cancelled")
        with requests.lock_batch_key(cursor, key):
            if _record(cursor, record_id).status != "syncing":
                raise ProblemError(
                    409,
                    "batch_not_running",
                    f"batch {record_id} is not running; there is nothing to cancel",
                    id=record_id,
                )
            backfills = _open_backfills(services, key)
            active = _terminable_runs(services, key)
            reason = f"cancelled by {caller.name} over the API"
            try:
                with transaction(cursor):
                    requests.cancel_pending(cursor, record_id, reason, cancelled_by=caller.name)
            except RequestError as error:
                raise ProblemError.of(error, 409) from None
            for backfill in backfills:
                runs.cancel_backfill(services.dagster, backfill)
            runs.terminate_runs(services.dagster, active)
            return _record(cursor, record_id)


def _uuid(caller: Caller, key: str) -> uuid.UUID:
    """Return a UUID derived from the caller and the key, or a random one if there is no key."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{caller.name}:{key}") if key else uuid.uuid4()


def _launch_or_close(
    services: Services, cursor: "Cursor", record: Record, triggered_by: str
) -> str:
    """Launch a run for `record` and return its ID; if that fails, close the record as not run.

    Raises ProblemError 503 if the run was not launched, or if Dagster did not confirm the launch.
    """
    try:
        return _launch(services, record, triggered_by)
    except SyncError as error:
        if _record(cursor, record.id).status == "syncing":
            with transaction(cursor):
                requests.cancel_pending(cursor, record.id, one_line(error))
        if isinstance(error, NoResponseError):
            raise ProblemError(
                503,
                "launch_unknown",
                f"Dagster did not confirm that batch {record.id} was launched: {one_line(error)}; "
                "its record is closed as not run, and is reopened if the batch starts after all",
                id=record.id,
            ) from None
        raise ProblemError(
            503,
            "not_launched",
            f"batch {record.id} was not launched: {one_line(error)}; its record is closed as not "
            f"run; once Dagster is running, retry it with POST /api/v1/sync-status/{record.id}"
            "/retry",
            id=record.id,
        ) from None


def _launch_retry(services: Services, cursor: "Cursor", record: Record, triggered_by: str) -> str:
    """Set the failed days of `record` to pending and launch a run for them; return the run's ID.

    Both happen in one transaction, so an error or a crash leaves the record unchanged. If Dagster
    launched the run despite the error, the run itself sets the days to pending once this
    transaction has ended. Raises ProblemError 409 if there are no unfinished days, or 503 if the
    run was not launched.
    """
    try:
        with transaction(cursor):
            requests.retry_batch(cursor, record.id, triggered_by)
            return _launch(
                services, record, triggered_by, timeout_seconds=_LOCKED_LAUNCH_TIMEOUT_SECONDS
            )
    except NoResponseError as error:
        raise ProblemError(
            503,
            "retry_unknown",
            f"Dagster did not confirm that batch {record.id} was retried: {one_line(error)}; its "
            "record is unchanged, and is updated if the retry starts after all",
            id=record.id,
        ) from None
    except RequestError as error:
        if error.code == "nothing_unfinished":
            raise _retry_refused(error, record.id) from None
        raise _not_retried(record, error) from None
    except SyncError as error:
        raise _not_retried(record, error) from None


def _not_retried(record: Record, error: SyncError) -> ProblemError:
    return ProblemError(
        503,
        "not_retried",
        f"batch {record.id} was not retried: {one_line(error)}; its record is unchanged; once "
        f"Dagster is running, send POST /api/v1/sync-status/{record.id}/retry again",
        id=record.id,
    )


def _retry_refused(error: RequestError, record_id: int) -> ProblemError:
    """Return a 409 problem for a rejected retry, suggesting another API call if possible."""
    problem = ProblemError.of(error, 409)
    if error.code in _RETRY_ADVICE:
        problem.detail += f"; {_RETRY_ADVICE[error.code].format(id=record_id)}"
    return problem


def _launch(
    services: Services,
    record: Record,
    triggered_by: str,
    *,
    timeout_seconds: float = _LAUNCH_TIMEOUT_SECONDS,
) -> str:
    """Launch a run of the batch job for `record`; return the run's ID.

    Raises RequestError if Dagster rejects the launch, or StackError if it does not respond.
    """
    config = {
        "dataset": record.dataset,
        "start_date": record.start_date.isoformat(),
        "end_date": record.end_date.isoformat(),
        "already_synced": record.already_synced or "skip",
    }
    tags = {BATCH_KEY_TAG: record.batch_key or "", TRIGGERED_BY_TAG: triggered_by}
    if (record.end_date - record.start_date).days < _MAX_DAYS_OF_HIGH_PRIORITY:
        tags[PRIORITY_TAG] = HIGH_PRIORITY
    return services.dagster.launch_job(
        BATCH_JOB_NAME, config=config, tags=tags, timeout_seconds=timeout_seconds
    )


def _check_same_request(record: Record, new: BatchSpec) -> None:
    """Raise ProblemError 409 if the request that opened `record` differs from `new`."""
    requested = (new.dataset, min(new.days), max(new.days), "resync" if new.resync else "skip")
    if requested != (record.dataset, record.start_date, record.end_date, record.already_synced):
        raise ProblemError(
            409,
            "idempotency_key_reused",
            f"this Idempotency-Key was already used to launch batch {record.id} with different "
            "values; use a new key for each request",
            field="Idempotency-Key",
            id=record.id,
        )


def _wait_for_last_run(services: Services, cursor: "Cursor", key: str, record_id: int) -> None:
    """Wait until the last run of a closed batch has ended.

    Raises ProblemError 409 if the batch cannot be retried, or if a run is still active after a
    short wait.
    """
    deadline = time.monotonic() + _END_TIMEOUT_SECONDS
    while True:
        progress = reports.progress(cursor, str(record_id))
        try:
            if progress is not None:
                check_retry(progress)
        except RetryRefusedError as error:
            raise _retry_refused(error, record_id) from None
        active = [run for run in runs.runs_of(services.dagster, key) if run.active]
        if not active:
            return
        if time.monotonic() > deadline:
            raise ProblemError(
                409,
                "batch_running",
                f"run {active[0].run_id} of batch {record_id} is still active; try again once it "
                "has ended",
                id=record_id,
            )
        time.sleep(_POLL_SECONDS)


def _open_backfills(services: Services, key: str) -> list[str]:
    """Return the IDs of a batch's backfills that may still launch runs."""
    active = {run.backfill_id for run in runs.runs_of(services.dagster, key) if run.active}
    ids = {key, *active} - {None}
    return [id_ for id_ in ids if id_ and runs.is_backfill_active(services.dagster, id_)]


def _terminable_runs(services: Services, key: str) -> list[runs.Run]:
    """Wait until all active runs of a batch can be terminated, and return them.

    Raises ProblemError 409 if a run was started from the command line, or 503 on timeout.
    """
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        active = [run for run in runs.runs_of(services.dagster, key) if run.active]
        for run in active:
            if run.from_command_line:
                raise ProblemError(
                    409,
                    "by_command_line",
                    f"run {run.run_id} was started from the command line, so it cannot be "
                    "cancelled here; press Ctrl-C there",
                    run=run.run_id,
                )
        if all(run.can_terminate for run in active):
            return active
        if time.monotonic() > deadline:
            raise ProblemError(
                503,
                "run_starting",
                "a run of the batch is starting or ending; try again in a moment",
                headers={"Retry-After": "5"},
            )
        time.sleep(_POLL_SECONDS)


def _record(cursor: "Cursor", record_id: int) -> Record:
    found = history.record(cursor, record_id)
    if found is None:
        raise no_record(record_id)
    return found


def _batch_key(record: Record, action: str) -> str:
    """Return a batch's key. Raises ProblemError 409 if `record` is not a batch with a key."""
    if record.kind != "batch":
        raise ProblemError(
            409,
            "not_a_batch",
            f"record {record.id} is a day; only a batch can be {action}",
            id=record.id,
        )
    if record.batch_key is None:
        advice = f"; {_RESYNC_ADVICE}" if action == "retried" else ""
        raise ProblemError(
            409,
            "unmanaged_batch",
            f"batch {record.id} was created by SyncStatusService or SQL, not by the pipeline, so "
            f"it cannot be {action}{advice}",
            id=record.id,
        )
    return record.batch_key
