"""Launch a backfill through Dagster's GraphQL API, as its UI does."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.dagster_client.tags import LOCATION, REPOSITORY

_LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}"""


def launch_backfill(
    dagster: Dagster, days: Sequence[date], *, asset: str | None = None, job: str | None = None
) -> str:
    """Launch a backfill for an asset or a partitioned job, and return its ID."""
    params: dict[str, Any] = {"partitionNames": [day.isoformat() for day in days]}
    if asset is not None:
        params["assetSelection"] = [{"path": [asset]}]
    else:
        params["selector"] = {
            "partitionSetName": f"{job}_partition_set",
            "repositorySelector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
            },
        }
    result = dagster.graphql(_LAUNCH, {"params": params})["launchPartitionBackfill"]
    assert result["__typename"] == "LaunchBackfillSuccess", result
    return str(result["backfillId"])
