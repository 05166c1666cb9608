"""Dagster from outside: its web server's GraphQL, for launching and for looking.

Nothing here imports dagster, which costs more than a second; the server has it loaded already.
"""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from sync_pipeline.dagster_client.http import open_url
from sync_pipeline.dagster_client.tags import LOCATION, REPOSITORY
from sync_pipeline.errors import NoResponseError, RequestError, StackError

_TIMEOUT_SECONDS = 60

_LAUNCH_RUN = """mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}"""
_LAUNCH_BACKFILL = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}"""
_RUN_STATUS = """query ($id: ID!) {
  runOrError(runId: $id) { __typename ... on Run { status } ... on Error { message } }
}"""


@dataclass(frozen=True)
class Dagster:
    """A running Dagster at `url`, the address of its UI without a slash at the end."""

    url: str

    def launch_job(
        self,
        job: str,
        *,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> str:
        """Launch a run of `job` and return its id.

        Raises RequestError if Dagster refuses the config, StackError if it does not answer, of
        which UnansweredError if it may have launched it.
        """
        params = {
            "selector": _selector("pipelineName", job),
            "runConfigData": dict(config or {}),
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]
            },
        }
        answer = self.graphql(_LAUNCH_RUN, {"params": params}, timeout_seconds=timeout_seconds)[
            "launchRun"
        ]
        if answer["__typename"] != "LaunchRunSuccess":
            said = [error["message"] for error in answer.get("errors", [])] or [answer["message"]]
            raise RequestError(f"Dagster did not launch {job}: {'; '.join(said)}")
        return str(answer["run"]["runId"])

    def launch_backfill(
        self, days: Sequence[date], *, asset: str | None = None, job: str | None = None
    ) -> str:
        """Launch a backfill of an asset, or of a partitioned job, and return its id.

        As the UI's own dialog does. Raises RequestError if Dagster refuses it.
        """
        params: dict[str, Any] = {"partitionNames": [day.isoformat() for day in days]}
        if asset is not None:
            params["assetSelection"] = [{"path": [asset]}]
        else:
            params["selector"] = {
                "partitionSetName": f"{job}_partition_set",
                "repositorySelector": _selector(),
            }
        answer = self.graphql(_LAUNCH_BACKFILL, {"params": params})["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise RequestError(f"Dagster did not launch the backfill: {answer.get('message')}")
        return str(answer["backfillId"])

    def run_status(self, run_id: str) -> str:
        """Return a run's status in Dagster's words, such as ``STARTED`` or ``SUCCESS``."""
        answer = self.graphql(_RUN_STATUS, {"id": run_id})["runOrError"]
        if answer["__typename"] != "Run":
            raise RequestError(f"Dagster knows no run {run_id}: {answer.get('message')}")
        return str(answer["status"])

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Return the `data` of a GraphQL answer. Raises StackError for an error or no answer;
        UnansweredError if it may have done it all the same."""
        request = urllib.request.Request(  # noqa: S310  http, the address of a running Dagster
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": dict(variables or {})}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with open_url(request, timeout_seconds) as response:
                answer = json.load(response)
        except URLError as error:
            unclear = NoResponseError if isinstance(error, HTTPError) else StackError
            raise unclear(f"Dagster at {self.url} does not answer: {error}") from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: what is no JSON
            raise NoResponseError(f"Dagster at {self.url} does not answer: {error}") from None
        if answer.get("errors"):
            raise StackError(f"Dagster refused a query: {answer['errors'][0].get('message')}")
        data: dict[str, Any] = answer["data"]
        return data


def _selector(key: str | None = None, name: str | None = None) -> dict[str, str]:
    selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
    return selector if key is None or name is None else {**selector, key: name}
