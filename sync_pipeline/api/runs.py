"""Find and terminate a batch's Dagster runs, and cancel its backfills.

Does not launch runs: see `launching.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.dagster_client.tags import (
    BACKFILL_TAG,
    BATCH_KEY_TAG,
    COMMAND_LINE_SUFFIX,
    ROOT_BACKFILL_TAG,
    ROOT_RUN_TAG,
    TRIGGERED_BY_TAG,
)
from sync_pipeline.errors import RequestError

_ACTIVE = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")
_KEY_TAGS = (
    BATCH_KEY_TAG,
    BACKFILL_TAG,
    ROOT_BACKFILL_TAG,
    ROOT_RUN_TAG,
)
_MAX_RUNS = 500
_FIELDS = (
    "{ ... on Runs { results { runId status canTerminate creationTime tags { key value } } } }"
)
_RUNS = (
    "query ($ids: RunsFilter!, "
    + ", ".join(f"$tag{n}: RunsFilter!" for n in range(len(_KEY_TAGS)))
    + ", $limit: Int!) { ids: runsOrError(filter: $ids, limit: $limit) "
    + _FIELDS
    + " ".join(
        f" tag{n}: runsOrError(filter: $tag{n}, limit: $limit) {_FIELDS}"
        for n in range(len(_KEY_TAGS))
    )
    + "}"
)
_BACKFILL = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { id status } } }"""
_CANCEL_BACKFILL = """mutation ($id: String!) { cancelPartitionBackfill(backfillId: $id) {
    __typename ... on Error { message } } }"""
_TERMINATE = """mutation ($ids: [String!]!) { terminateRuns(runIds: $ids) {
    __typename ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Run:
    """A run of a batch.

    `can_terminate` is true if Dagster can terminate the run's process. `from_command_line` is true
    if the process was started from the command line, which means that Dagster cannot terminate it.
    `created` is in Unix seconds.
    """

    run_id: str
    active: bool
    can_terminate: bool
    from_command_line: bool
    backfill_id: str | None
    created: float


def runs_of(dagster: Dagster, batch_key: str) -> list[Run]:
    """Return the runs of the batch with this key, newest first.

    Raises StackError if Dagster does not respond.
    """
    filters: dict[str, Any] = {"ids": {"runIds": [batch_key]}, "limit": _MAX_RUNS}
    for number, tag in enumerate(_KEY_TAGS):
        filters[f"tag{number}"] = {"tags": [{"key": tag, "value": batch_key}]}
    response = dagster.graphql(_RUNS, filters)
    found = {
        run["runId"]: _run(run) for part in response.values() for run in part.get("results", ())
    }
    return sorted(found.values(), key=lambda run: -run.created)


def is_backfill_active(dagster: Dagster, backfill_id: str) -> bool:
    """Return whether a backfill with this ID may still launch runs.

    Raises StackError if Dagster does not respond.
    """
    found = dagster.graphql(_BACKFILL, {"id": backfill_id})["partitionBackfillOrError"]
    return bool(found.get("status") == "REQUESTED")


def cancel_backfill(dagster: Dagster, backfill_id: str) -> None:
    """Cancel a backfill, so that it launches no further runs.

    Raises RequestError if Dagster rejects the request, or StackError if it does not respond.
    """
    response = dagster.graphql(_CANCEL_BACKFILL, {"id": backfill_id})["cancelPartitionBackfill"]
    if response["__typename"] != "CancelBackfillSuccess":
        raise RequestError(
            f"Dagster did not cancel backfill {backfill_id}: {response.get('message')}"
        )


def terminate_runs(dagster: Dagster, runs: Sequence[Run]) -> None:
    """Terminate these runs. Raises StackError if Dagster does not respond."""
    if runs:
        dagster.graphql(_TERMINATE, {"ids": [run.run_id for run in runs]})


def _run(run: dict[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    return Run(
        run["runId"],
        run["status"] in _ACTIVE,
        run["canTerminate"],
        tags.get(TRIGGERED_BY_TAG, "").endswith(COMMAND_LINE_SUFFIX),
        tags.get(BACKFILL_TAG),
        run["creationTime"],
    )
