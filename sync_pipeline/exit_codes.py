"""The exit codes of the command line, listed in docs/operations.md."""

from enum import IntEnum

from sync_pipeline.errors import RequestError, SettingError


class ExitCode(IntEnum):
    """Exit codes of `sync-pipeline`."""

    OK = 0
    FAILED = 1  # the batch failed, or a check found a problem
    REFUSED = 2  # the request is invalid; nothing was written
    UNAVAILABLE = 3  # a database or Dagster cannot be reached or started
    CANCELLED = 130  # Ctrl-C or SIGTERM


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for a command that failed with `error`."""
    refused = isinstance(error, (RequestError, SettingError))
    return ExitCode.REFUSED if refused else ExitCode.UNAVAILABLE
