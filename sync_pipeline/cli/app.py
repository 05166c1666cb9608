"""The commands of `sync-pipeline` and their options.

Does not implement the commands: see the other modules of this package. Does not import dagster,
because that takes seconds. A SyncError is printed as one line on standard error; `exit_codes.py`
defines the exit codes.
"""

import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from sync_pipeline.cli.console import errors, out, print_error
from sync_pipeline.config.dataset import parse_day
from sync_pipeline.errors import RequestError, StackError, SyncError, one_line
from sync_pipeline.exit_codes import ExitCode, exit_code_of
from sync_pipeline.settings import API_TOKENS, API_TRACKING_URL, DATABASE_URL, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sync rows into PostgreSQL day by day, with an accurate record of every day and batch.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on localhost.")] = 3000,
    page_port: Annotated[
        int, typer.Option(help="Port of the page and the API on localhost.")
    ] = 8000,
) -> None:
    """Run Dagster, the page, the API and (if no database is set) PostgreSQL until Ctrl-C."""
    from sync_pipeline.cli.dev import run_everything
    from sync_pipeline.local.stack import prepare_databases

    loaded = load_settings()
    with prepare_databases(loaded, with_source=True) as settings:
        if not loaded.environment.get(DATABASE_URL, "").strip():
            out.print(f"PostgreSQL: {settings.database_url}", highlight=False, soft_wrap=True)
        out.print("starting Dagster …")
        with run_everything(settings, port, page_port) as running:
            out.print(f"page: {running.page_url}    API: {running.api.url}/api/v1", soft_wrap=True)
            out.print(f"Dagster UI: {running.dagster.url}    log: {running.dagster.log}")
            out.print("status: sync-pipeline status    stop: Ctrl-C")
            with suppress(_Interrupted):  # the normal way to stop
                running.wait()


@app.command()
def api(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; if it is not loopback, tokens are required.")
    ] = "127.0.0.1",
) -> None:
    """Serve the REST API and the page until Ctrl-C. Does not start Dagster."""
    from sync_pipeline.api.server import serve
    from sync_pipeline.local.stack import prepare_databases

    def on_listening(url: str) -> None:
        out.print(f"page: {url}/sync-status    API: {url}/api/v1")

    loaded = load_settings()
    with suppress(_Interrupted):  # the normal way to stop
        if loaded.environment.get(API_TRACKING_URL, "").strip():
            serve(loaded, host, port, on_listening)
        else:
            with prepare_databases(loaded) as settings:
                serve(settings, host, port, on_listening)


@app.command()
def daemon() -> None:
    """Run Dagster's daemon until Ctrl-C. It checks for backfills every few seconds."""
    from sync_pipeline.local.stack import prepare_databases, run_daemon

    with (
        prepare_databases(load_settings()) as settings,
        run_daemon(settings) as process,
        suppress(_Interrupted),  # the normal way to stop
    ):
        raise StackError(f"Dagster's daemon stopped with exit code {process.wait()}")


@app.command()
def token(
    name: Annotated[
        str, typer.Argument(help="User name; recorded with each batch that the user launches.")
    ],
    role: Annotated[str, typer.Argument(help="`reader` or `operator`.")],
) -> None:
    """Create an API token; print the token and its entry for SYNC_API_TOKENS."""
    from sync_pipeline.api.security.tokens import new_token

    secret, entry = new_token(name, role)
    out.print(f"token for {name}: {secret}", highlight=False, soft_wrap=True)
    out.print(f"entry for {API_TOKENS}: {entry}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    year: Annotated[bool, typer.Option("--year", help="Sync 365 days instead of 10.")] = False,
) -> None:
    """Sync real data end to end in separate databases, and show the record as it is updated."""
    from sync_pipeline.cli.demo import run_demo

    if not run_demo(load_settings(), out, year=year):
        errors.print("the demo failed; see above")
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def migrate() -> None:
    """Migrate the tracking tables to the current version. Safe to repeat and run concurrently."""
    from sync_pipeline.database.migrate import code_version
    from sync_pipeline.local.stack import prepare_databases

    with prepare_databases(load_settings()):
        out.print(f"the tracking tables are at version {code_version()}")


@app.command()
def backfill(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset (its folder in datasets/).")],
    start: Annotated[str, typer.Argument(help="First day, such as 2025-10-01.")],
    end: Annotated[str, typer.Argument(help="Last day (inclusive).")],
    resync: Annotated[
        bool, typer.Option("--resync", help="Also sync days that are already synced.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sync a day range as one batch and show its progress. Ctrl-C cancels it gracefully."""
    from sync_pipeline.cli.batches import run_batch
    from sync_pipeline.cli.launch import BatchRequest
    from sync_pipeline.local.stack import prepare_databases

    request = BatchRequest(dataset, parse_day(start, "START"), parse_day(end, "END"), resync)
    if request.end < request.start:
        raise RequestError(
            f"dataset {dataset}: the range {start} to {end} is reversed; "
            f"put the earlier date first: {end} {start}"
        )
    with prepare_databases(load_settings(), with_source=True) as settings:
        code = run_batch(settings, request, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def retry(
    batch: Annotated[str, typer.Argument(help="The record's ID or the batch key.")],
    as_json: Json = False,
) -> None:
    """Retry a failed batch: only its unfinished days, under the same record."""
    from sync_pipeline.cli.batches import run_batch
    from sync_pipeline.cli.launch import retry_request
    from sync_pipeline.local.stack import prepare_databases
    from sync_pipeline.tracking.connection import read_tracking
    from sync_pipeline.tracking.read import reports

    with prepare_databases(load_settings(), with_source=True) as settings:
        with read_tracking(settings) as cursor:
            found = reports.progress(cursor, batch)
        if found is None:
            raise RequestError(f"batch {batch} not found; see: sync-pipeline status")
        code = run_batch(settings, retry_request(found), as_json=as_json)
    raise typer.Exit(code)


@app.command()
def replay(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset (its folder in datasets/).")],
    day: Annotated[
        str | None, typer.Option(help="Only this day, such as 2025-10-01; by default all days.")
    ] = None,
) -> None:
    """Load quarantined rows (on_bad_row: quarantine) once the cause of the rejection is fixed."""
    from sync_pipeline.cli.replay import replay_and_show
    from sync_pipeline.local.stack import prepare_databases

    one_day = None if day is None else parse_day(day, "--day")
    with prepare_databases(load_settings(), with_source=True) as settings:
        complete = replay_and_show(settings, dataset, one_day, out)
    if not complete:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def status(
    batch: Annotated[
        str | None,
        typer.Argument(help="A record's ID or a batch key; by default the latest batches."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the progress until the batch ends.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of batches to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List the latest batches, or show one batch with its failed days."""
    from sync_pipeline.cli.batches import follow_batch, latest_batch, show_batch
    from sync_pipeline.cli.render import batches_table, list_to_json
    from sync_pipeline.local.stack import prepare_databases
    from sync_pipeline.tracking.connection import read_tracking
    from sync_pipeline.tracking.read import reports

    with prepare_databases(load_settings()) as settings:
        if follow or batch is not None:
            key = batch or latest_batch(settings)
            if follow:
                follow_batch(settings, key, errors if as_json else out)
            if show_batch(settings, key, as_json=as_json) is None:
                raise RequestError(f"batch {key} not found; see: sync-pipeline status")
            return
        with read_tracking(settings) as cursor:
            found = reports.recent_batches(cursor, limit)
    if as_json:
        print(list_to_json(found))  # noqa: T201
    elif found:
        out.print(batches_table(found))
    else:
        out.print("no batches yet; launch one with: sync-pipeline backfill DATASET START END")


@app.command()
def doctor() -> None:
    """Check settings, databases, datasets and Dagster, and print how to fix each problem."""
    from sync_pipeline.cli.doctor import run_checks

    if not run_checks(load_settings(), out):
        raise typer.Exit(ExitCode.FAILED)


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not KeyboardInterrupt, because typer has its own exit code for that."""


def main() -> NoReturn:
    """Run the command and exit with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except SyncError as error:
        print_error(one_line(error))
        sys.exit(exit_code_of(error))
    except _Interrupted:
        sys.exit(ExitCode.CANCELLED)
    raise AssertionError("typer always exits")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted
