"""A client for the GraphQL API of Dagster's webserver: launches runs and queries them.

Does not import dagster, because that takes more than a second.
"""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
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
_RUN_STATUS = """query ($id: ID!) {
  runOrError(runId: $id) { __typename ... on Run { status } ... on Error { message } }
}"""


@dataclass(frozen=True)
class Dagster:
    """A running Dagster instance. `url` is the address of its UI, without a trailing slash."""

    url: str

    def launch_job(
        self,
        job: str,
        *,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> str:
        """Launch a run of `job` and return its ID.

        Raises RequestError if Dagster rejects the config. Raises NoResponseError if there was no
        response, in which case the run may have been launched, or another StackError if the run was
        not launched.
        """
        params = {
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
                "pipelineName": job,
            },
            "runConfigData": dict(config or {}),
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]
            },
        }
        data = self.graphql(_LAUNCH_RUN, {"params": params}, timeout_seconds=timeout_seconds)
        result = data["launchRun"]
        if result["__typename"] != "LaunchRunSuccess":
            errors = [error["message"] for error in result.get("errors", [])] or [result["message"]]
            raise RequestError(f"Dagster did not launch {job}: {'; '.join(errors)}")
        return str(result["run"]["runId"])

    def run_status(self, run_id: str) -> str:
        """Return the Dagster status of a run, such as `STARTED` or `SUCCESS`."""
        result = self.graphql(_RUN_STATUS, {"id": run_id})["runOrError"]
        if result["__typename"] != "Run":
            raise RequestError(f"Dagster has no run {run_id}: {result.get('message')}")
        return str(result["status"])

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Execute a GraphQL query and return the `data` of the response.

        Raises StackError if the response is an error or Dagster cannot be reached. Raises
        NoResponseError if there was no valid response, although the query may have been executed.
        """
        request = urllib.request.Request(  # noqa: S310  Dagster's HTTP address
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": dict(variables or {})}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with open_url(request, timeout_seconds) as response:
                body = json.load(response)
        except URLError as error:
            error_type = NoResponseError if isinstance(error, HTTPError) else StackError
            raise error_type(f"Dagster at {self.url} does not respond: {error}") from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: not JSON
            raise NoResponseError(f"Dagster at {self.url} does not respond: {error}") from None
        if body.get("errors"):
            raise StackError(f"Dagster rejected a query: {body['errors'][0].get('message')}")
        data: dict[str, Any] = body["data"]
        return data
