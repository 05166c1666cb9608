"""Imports all private Dagster names that the pipeline uses.

Public names are imported from `dagster` where they are used. If a new version of Dagster moves a
private name, `test_dagster_internals.py` fails, and only this module needs to be changed.
"""

from dagster._core.definitions.reconstruct import (
    ReconstructableRepository as ReconstructableRepository,
)
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition,
)
from dagster._core.errors import (
    DagsterExecutionInterruptedError as DagsterExecutionInterruptedError,
)
from dagster._core.events import AssetMaterializationPlannedData as AssetMaterializationPlannedData
from dagster._core.events import DagsterEvent as DagsterEvent
from dagster._core.events import DagsterEventBatchMetadata as DagsterEventBatchMetadata
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES as BULK_ACTION_TERMINAL_STATUSES,
)
from dagster._core.execution.backfill import BulkActionsFilter as BulkActionsFilter
from dagster._core.execution.backfill import BulkActionStatus as BulkActionStatus
from dagster._core.execution.backfill import PartitionBackfill as PartitionBackfill
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin as ManagedGrpcPythonEnvCodeLocationOrigin,
)
from dagster._core.remote_origin import RemoteJobOrigin as RemoteJobOrigin
from dagster._core.remote_origin import RemoteRepositoryOrigin as RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import FINISHED_STATUSES as FINISHED_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES as NOT_FINISHED_STATUSES
from dagster._core.storage.dagster_run import RunRecord as RunRecord
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin as LoadableTargetOrigin
from dagster._core.utils import make_new_run_id as make_new_run_id
from dagster._grpc.impl import core_execute_run as core_execute_run
from dagster._utils.interrupts import capture_interrupts as capture_interrupts
