"""Which batches can be retried: the rules shared by the command line and the API.

Does not retry them: see `state/batches.py` (used by runs) and `state/requests.py` (by the API).
"""

from sync_pipeline.errors import RequestError
from sync_pipeline.tracking.models import BatchProgress


class RetryRefusedError(RequestError):
    """The batch cannot be retried; `code` says why. The message does not say what to do: the
    command line and the API each add their own advice."""


def check_retry(batch: BatchProgress) -> str:
    """Return the `batch_key` of `batch` if it can be retried.

    Otherwise raises RetryRefusedError with the code `batch_running`, `unmanaged_batch` (written
    through SyncStatusService or SQL) or `nothing_unfinished`.
    """
    about = f"dataset {batch.dataset}: batch {batch.id}"
    if batch.status == "syncing":
        raise RetryRefusedError(f"{about} is still running", "batch_running", id=batch.id)
    if batch.batch_key is None:
        raise RetryRefusedError(
            f"{about} was written through SyncStatusService or SQL, not by the pipeline",
            "unmanaged_batch",
            id=batch.id,
        )
    if batch.status == "success":
        raise RetryRefusedError(
            f"{about} has no unfinished days", "nothing_unfinished", id=batch.id
        )
    return batch.batch_key
