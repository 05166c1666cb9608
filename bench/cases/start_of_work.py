"""How long a user waits between the launch of a batch and the start of its first day.

Each case is compared with importing the definitions in a new process, which is what every run
would begin with if it were not forked. Uses a real Dagster instance, one small day per launch, and
the default settings.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from bench.pairs import Pair, measure_pairs, ratio, raw
from bench.project import create_project
from bench.readings import FIRST, dataset, make_readings
from bench.results import Log, Result
from bench.stack import query_one
from sync_pipeline.api.server import run_api
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import free_port
from sync_pipeline.local.stack import RunningDagster, run_dagster
from sync_pipeline.settings import DAGSTER_SCHEMA, DAGSTER_WEBSERVER_URL, Settings
from sync_pipeline_tests.backfills import launch_backfill

UI_CLICK_TO_DAY = "ui_click_to_day"
API_CLICK_TO_DAY = "api_click_to_day"
COMMAND_TO_DAY = "command_to_day"
BACKFILL_RUN_EACH = "backfill_run_each"
_DATASET = "readings_copy"
_UNTIL = "from the launch to the start of the day"
_PAIRS = 5
_RUNS = 20
_TIMEOUT_SECONDS = 180
_COMMAND = str(Path(sys.executable).with_name("sync-pipeline"))
_IMPORT = """
from sync_pipeline.orchestration.project import build_defs
from sync_pipeline.settings import current_settings
build_defs(current_settings().project_dir)
"""
_STARTED = "SELECT count(started_at) FROM sync_attempt WHERE sync_date = %s"
_UNFINISHED = f"""SELECT count(*) FROM {DAGSTER_SCHEMA}.runs
    WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"""
_ENDED_RUNS = f"""SELECT count(*) FILTER (WHERE status = 'SUCCESS'), max(end_time) - min(start_time)
    FROM {DAGSTER_SCHEMA}.runs WHERE start_time > %s"""

Launch = Callable[[date], object]
"""Launches a batch that consists of one day."""


def from_ui(settings: Settings, log: Log) -> Result:
    """Measure a backfill that is launched as in the Dagster UI."""
    with _project(settings) as complete, run_dagster(complete, 0) as dagster:
        pairs = _measure(complete, lambda day: launch_backfill(dagster, [day], asset=_DATASET), log)
    return _result(
        UI_CLICK_TO_DAY, f"a backfill of one day in the Dagster UI, {_UNTIL}", pairs, 1.5
    )


def from_api(settings: Settings, log: Log) -> Result:
    """Measure a batch that is launched over the REST API."""
    with (
        _project(settings) as complete,
        run_dagster(complete, 0) as dagster,
        run_api(complete, free_port(0), **{DAGSTER_WEBSERVER_URL: dagster.url}) as api,
    ):
        pairs = _measure(complete, lambda day: _post(api.url, day), log)
    return _result(API_CLICK_TO_DAY, f"a batch of one day over the REST API, {_UNTIL}", pairs, 0.5)


def from_command(settings: Settings, log: Log) -> Result:
    """Measure a batch that is launched from the command line."""
    with _project(settings) as complete:
        pairs = _measure(complete, lambda day: _start_command(complete, day), log)
    return _result(
        COMMAND_TO_DAY, f"a batch of one day from the command line, {_UNTIL}", pairs, 1.0
    )


def each_run(settings: Settings, log: Log) -> Result:
    """Measure the time per run in a backfill with one run per day."""
    with _project(settings, backfill=1) as complete, run_dagster(complete, 0) as dagster:
        first = iter(range(0, _PAIRS * _RUNS, _RUNS))
        pairs = measure_pairs(
            _PAIRS,
            lambda: _seconds_per_run(complete, dagster, next(first)),
            lambda: _import_seconds(complete),
            log,
        )
    what = f"each of {_RUNS} one-day runs of a backfill in the Dagster UI"
    return _result(BACKFILL_RUN_EACH, what, pairs, 0.3)


@contextmanager
def _project(settings: Settings, **keys: int) -> Iterator[Settings]:
    make_readings(settings)
    with create_project([dataset(_DATASET).model_copy(update=keys)], settings) as complete:
        yield complete


def _measure(settings: Settings, launch: Launch, log: Log) -> list[Pair]:
    _seconds_to_start(settings, launch, FIRST)  # creates the target table and fills the caches
    days = (FIRST + timedelta(days=number) for number in range(1, _PAIRS + 1))
    return measure_pairs(
        _PAIRS,
        lambda: _seconds_to_start(settings, launch, next(days)),
        lambda: _import_seconds(settings),
        log,
    )


def _result(case: str, measured: str, pairs: list[Pair], goal: float) -> Result:
    baseline = "importing the definitions in a new process"
    return Result(case, measured, baseline, ratio(pairs), goal, raw(pairs))


def _seconds_to_start(settings: Settings, launch: Launch, day: date) -> float:
    """Launch a batch; return the seconds until its day begins. Waits until the run has ended."""
    began = time.monotonic()
    launch(day)
    _wait(lambda: query_one(settings.tracking_url, _STARTED, [day]) == (1,))
    seconds = time.monotonic() - began
    _wait(lambda: query_one(settings.database_url, _UNFINISHED, []) == (0,))
    return seconds


def _seconds_per_run(settings: Settings, dagster: RunningDagster, first: int) -> float:
    """Run a backfill with one run per day; return the seconds from the first start to the last
    end, divided by the number of runs."""
    began = time.time()
    days = [FIRST + timedelta(days=first + number) for number in range(_RUNS)]
    launch_backfill(dagster, days, asset=_DATASET)
    _wait(lambda: query_one(settings.database_url, _ENDED_RUNS, [began])[0] == _RUNS)
    return float(query_one(settings.database_url, _ENDED_RUNS, [began])[1]) / _RUNS


def _import_seconds(settings: Settings) -> float:
    began = time.monotonic()
    environment = dict(settings.environment)
    subprocess.run([sys.executable, "-c", _IMPORT], env=environment, check=True)
    return time.monotonic() - began


def _post(url: str, day: date) -> None:
    body = {"dataset": _DATASET, "start_date": str(day), "end_date": str(day)}
    request = urllib.request.Request(  # noqa: S310  the API on loopback
        f"{url}/api/v1/sync-status/sync/batch",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()  # noqa: S310


def _start_command(settings: Settings, day: date) -> None:
    subprocess.Popen(
        [_COMMAND, "backfill", _DATASET, str(day), str(day)],
        env=dict(settings.environment),
        stdout=subprocess.DEVNULL,
    )


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise StackError("the batch did not start or end")
        time.sleep(0.02)
