"""The runs of a batch, in Dagster: which are at work, and ending them."""

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

_AT_WORK = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")
_KEY_TAGS = (
    BATCH_KEY_TAG,
    BACKFILL_TAG,
    ROOT_BACKFILL_TAG,
    ROOT_RUN_TAG,
)
_SEEN_AT_ONCE = 500
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
    """A run of a batch. `can_end`: Dagster can tell its process to end;
    `by_command`: its process is a command line's, which Dagster knows nothing of."""

    run_id: str
    at_work: bool
    can_end: bool
    by_command: bool
    backfill_id: str | None
    created: float


def runs_of(dagster: Dagster, batch_key: str) -> list[Run]:
    """Return the runs of the batch with this key, the newest first. Raises StackError."""
    filters: dict[str, Any] = {"ids": {"runIds": [batch_key]}, "limit": _SEEN_AT_ONCE}
    for number, tag in enumerate(_KEY_TAGS):
        filters[f"tag{number}"] = {"tags": [{"key": tag, "value": batch_key}]}
    answer = dagster.graphql(_RUNS, filters)
    found = {run["runId"]: _run(run) for part in answer.values() for run in part.get("results", ())}
    return sorted(found.values(), key=lambda run: -run.created)


def is_backfill_at_work(dagster: Dagster, backfill_id: str) -> bool:
    """Return whether this is a backfill that may still launch runs. Raises StackError."""
    found = dagster.graphql(_BACKFILL, {"id": backfill_id})["partitionBackfillOrError"]
    return bool(found.get("status") == "REQUESTED")


def cancel_backfill(dagster: Dagster, backfill_id: str) -> None:
    """Let a backfill launch no further run. Raises RequestError, StackError."""
    answer = dagster.graphql(_CANCEL_BACKFILL, {"id": backfill_id})["cancelPartitionBackfill"]
    if answer["__typename"] != "CancelBackfillSuccess":
        raise RequestError(
            f"Dagster did not cancel backfill {backfill_id}: {answer.get('message')}"
        )


def end_runs(dagster: Dagster, runs: Sequence[Run]) -> None:
    """Tell the processes of these runs to end. Raises StackError."""
    if runs:
        dagster.graphql(_TERMINATE, {"ids": [run.run_id for run in runs]})


def _run(found: dict[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    return Run(
        found["runId"],
        found["status"] in _AT_WORK,
        found["canTerminate"],
        tags.get(TRIGGERED_BY_TAG, "").endswith(COMMAND_LINE_SUFFIX),
        tags.get(BACKFILL_TAG),
        found["creationTime"],
    )
