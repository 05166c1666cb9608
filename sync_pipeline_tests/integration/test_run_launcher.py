"""Which runs are forked. Dagster's default launcher, recorded here, launches the others."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.dagster_client.tags import BATCH_JOB_NAME, LOCATION, REPOSITORY, RUN_PROCESS_TAG
from sync_pipeline.errors import SettingError
from sync_pipeline.orchestration.dagster import run_launcher
from sync_pipeline.orchestration.dagster.internals import (
    GrpcServerCodeLocationOrigin,
    LaunchRunContext,
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    ReconstructableRepository,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from sync_pipeline.orchestration.dagster.run_launcher import ForkServerRunLauncher
from sync_pipeline.tracking.worker.workers import worker_with

pytestmark = pytest.mark.integration

MANAGED = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="m"), LOCATION)
ON_SOCKET = GrpcServerCodeLocationOrigin("localhost", socket="/tmp/s", location_name=LOCATION)  # noqa: S108
ON_PORT = GrpcServerCodeLocationOrigin("localhost", port=4266, location_name=LOCATION)


@pytest.fixture
def launcher() -> Iterator[ForkServerRunLauncher]:
    with dg.instance_for_test() as instance:
        created = ForkServerRunLauncher()
        created.register_instance(instance)
        yield created


@pytest.fixture
def by_default(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The IDs of the runs that Dagster's default launcher was called to launch."""
    launched: list[str] = []
    monkeypatch.setattr(
        dg.DefaultRunLauncher,
        "launch_run",
        lambda _, context: launched.append(context.dagster_run.run_id),
    )
    return launched


@pytest.fixture
def cannot_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, **options: Any) -> None:
            pass

        def start(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(run_launcher._context, "Process", Process)


def run_in(launcher: ForkServerRunLauncher, location: Any, **fields: Any) -> dg.DagsterRun:
    """Add and return a run of the batch job in the code location `location`."""
    repository = ReconstructableRepository.for_module("sync_pipeline.definitions", "defs")
    run = dg.DagsterRun(
        job_name=BATCH_JOB_NAME,
        job_code_origin=repository.get_reconstructable_job(BATCH_JOB_NAME).get_python_origin(),
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(location, REPOSITORY), BATCH_JOB_NAME
        ),
        **fields,
    )
    return launcher._instance.add_run(run)


def launch(launcher: ForkServerRunLauncher, run: dg.DagsterRun) -> None:
    launcher.launch_run(LaunchRunContext(run, None))


def test_a_run_of_a_code_server_on_a_port_is_launched_by_the_default_launcher(
    launcher: ForkServerRunLauncher, by_default: list[str]
) -> None:
    run = run_in(launcher, ON_PORT)
    launch(launcher, run)
    assert by_default == [run.run_id]


@pytest.mark.parametrize("location", [MANAGED, ON_SOCKET])
def test_no_run_is_forked_if_the_setting_is_false(
    launcher: ForkServerRunLauncher,
    by_default: list[str],
    monkeypatch: pytest.MonkeyPatch,
    location: Any,
) -> None:
    monkeypatch.setenv("SYNC_FORK_RUNS", "false")
    run = run_in(launcher, location)
    launch(launcher, run)
    assert by_default == [run.run_id]


def test_an_invalid_setting_is_rejected(
    launcher: ForkServerRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_FORK_RUNS", "maybe")
    with pytest.raises(SettingError, match="SYNC_FORK_RUNS is 'maybe'; set it to true or false"):
        launch(launcher, run_in(launcher, MANAGED))


@pytest.mark.usefixtures("cannot_fork")
def test_if_forking_fails_the_default_launcher_takes_over_and_one_warning_is_logged(
    launcher: ForkServerRunLauncher, by_default: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    runs = [run_in(launcher, MANAGED), run_in(launcher, ON_SOCKET)]
    with caplog.at_level(logging.WARNING):
        for run in runs:
            launch(launcher, run)
    assert by_default == [run.run_id for run in runs]
    (warning,) = [record.getMessage() for record in caplog.records if "fork" in record.message]
    assert "Resource temporarily unavailable" in warning
    assert "set SYNC_FORK_RUNS=false" in warning


def test_a_re_executed_run_is_not_mistaken_for_the_run_whose_tags_it_has(
    launcher: ForkServerRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminated: list[str] = []
    monkeypatch.setattr(
        dg.DefaultRunLauncher, "terminate", lambda _, run_id: terminated.append(run_id)
    )
    process = worker_with("the run before", os.getpid())
    run = run_in(launcher, ON_PORT, tags={RUN_PROCESS_TAG: json.dumps(asdict(process))})
    launcher.terminate(run.run_id)
    assert terminated == [run.run_id]
