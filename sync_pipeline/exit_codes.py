"""What the command's exit code says, for scripts. Listed in docs/operations.md."""

from enum import IntEnum

from sync_pipeline.errors import RequestError, SettingError


class ExitCode(IntEnum):
    """Exit codes of `sync-pipeline`."""

    OK = 0
    FAILED = 1  # the batch ended failed; a check found something wrong
    REFUSED = 2  # what was asked for cannot be done; nothing was written
    UNAVAILABLE = 3  # a database or Dagster cannot be reached or started
    CANCELLED = 130  # Ctrl-C or SIGTERM


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for a command that `error` ended."""
    refused = isinstance(error, (RequestError, SettingError))
    return ExitCode.REFUSED if refused else ExitCode.UNAVAILABLE
