"""Imports all private Dagster names that the pipeline uses.

Public names are imported from `dagster` where they are used. If a new version of Dagster moves a
private name, `test_dagster_internals.py` fails, and only this module needs to be changed. Names
that only Dagster's own commands need are imported in the functions below, because a run does not
need them.
"""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster import DagsterInstance, DagsterRun, PartitionsDefinition
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.reconstruct import (
    ReconstructableRepository as ReconstructableRepository,
)
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition,
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
from dagster._core.launcher.base import LaunchRunContext as LaunchRunContext
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin as GrpcServerCodeLocationOrigin,
)
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin as ManagedGrpcPythonEnvCodeLocationOrigin,
)
from dagster._core.remote_origin import RemoteJobOrigin as RemoteJobOrigin
from dagster._core.remote_origin import RemoteRepositoryOrigin as RemoteRepositoryOrigin
from dagster._core.run_coordinator.queued_run_coordinator import (
    QueuedRunCoordinator as QueuedRunCoordinator,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES as FINISHED_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES as NOT_FINISHED_STATUSES
from dagster._core.storage.dagster_run import RunRecord as RunRecord
from dagster._core.storage.event_log import SqlEventLogStorageTable as SqlEventLogStorageTable
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin as LoadableTargetOrigin
from dagster._core.utils import make_new_run_id as make_new_run_id
from dagster._grpc.impl import core_execute_run as core_execute_run
from dagster._grpc.types import ExecuteRunArgs as ExecuteRunArgs
from dagster._serdes import serialize_value as serialize_value
from dagster._utils import get_run_crash_explanation as get_run_crash_explanation
from dagster._utils.interrupts import capture_interrupts as capture_interrupts

RUN_COMMAND_MODULE = "dagster._cli.api"
"""The module that `execute_run` imports."""


def execute_run(arguments: str) -> None:
    """Execute a run in this process, as `dagster api execute_run` does."""
    from dagster._cli.api import execute_run_command

    execute_run_command.main([arguments], standalone_mode=False)


def loads_for_a_run() -> bool:
    """Return whether the definitions are being loaded to execute a run, not to be displayed."""
    return DefinitionsLoadContext.get().load_type is DefinitionsLoadType.RECONSTRUCTION


def run_dev_command(daemon_module: str) -> None:
    """Run `dagster dev` with the options in `sys.argv`, but start its daemon with `python -m
    <daemon_module>`.

    If a later version of `dagster dev` starts its daemon differently, `daemon_module` has no
    effect.
    """
    from dagster._cli import dev, main

    start_process = vars(dev)["open_ipc_subprocess"]

    def start(parts: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        if list(parts[1:4]) == ["-m", "dagster._daemon", "run"]:
            parts = [sys.executable, "-m", daemon_module, "daemon", *parts[4:]]
        started: subprocess.Popen[Any] = start_process(parts, **options)
        return started

    vars(dev)["open_ipc_subprocess"] = start
    main()  # type: ignore[no-untyped-call]


def run_daemon_command(before: Callable[[DagsterInstance], object]) -> None:
    """Run `dagster-daemon` with the arguments in `sys.argv`; first call `before` with its
    instance."""
    from dagster._daemon import cli

    open_instance = vars(cli)["get_instance_for_cli"]

    @contextmanager
    def open_and_prepare(**options: Any) -> Iterator[DagsterInstance]:
        with open_instance(**options) as instance:
            before(instance)
            yield instance

    vars(cli)["get_instance_for_cli"] = open_and_prepare
    cli.main()


def set_backfill_interval(seconds: float) -> bool:
    """Set how often the daemon in this process checks for backfills; return whether that worked.

    Dagster has no setting for this interval: the daemon reads a constant.
    """
    from dagster._daemon import backfill, controller

    name = "DEFAULT_DAEMON_INTERVAL_SECONDS"
    known = name in inspect.getsource(backfill.execute_backfill_iteration_loop)
    if not known or not hasattr(controller, name):
        return False
    vars(controller)[name] = seconds
    return True


def set_queue_interval(instance: DagsterInstance, seconds: float) -> None:
    """Set how often the daemon in this process checks the run queue, if that is every second.

    `dagster.yaml` accepts only whole seconds.
    """
    coordinator, name = instance.run_coordinator, "_dequeue_interval_seconds"
    if isinstance(coordinator, QueuedRunCoordinator) and vars(coordinator).get(name) == 1:
        vars(coordinator)[name] = seconds


def plan_unpartitioned_checks_once() -> None:
    """Make runs created by this process plan a check without partitions only once.

    Dagster plans such a check for each partition of the run, although it is evaluated only once.
    For 20,000 days, that can take longer than a minute. If a later version of Dagster resolves the
    partitions differently, nothing is changed.
    """
    name = "get_resolved_partitions_subset_for_events"
    resolve = getattr(DagsterRun, name, None)
    if resolve is None:
        return

    def resolve_if_partitioned(run: DagsterRun, partitions: PartitionsDefinition | None) -> Any:
        return None if partitions is None else resolve(run, partitions)

    setattr(DagsterRun, name, resolve_if_partitioned)
