"""Sync Pipeline's exceptions, and functions that format an error as one line without secrets.

Every message names the dataset, day or setting concerned and says what to do next. A `SyncError` is
shown as one line without a traceback; any other exception is a bug and keeps its traceback. Does
not decide which errors are retried: see `retry.py`.
"""

import re


class SyncError(Exception):
    """An error that the user can fix; its one-line message says how."""


class SettingError(SyncError):
    """An environment variable or a key in a `defs.yaml` is missing or invalid."""


class RequestError(SyncError):
    """The request is invalid, for example an unknown dataset or batch, or reversed dates.

    `code` is a stable identifier for the reason, and `params` contains the values that appear in
    the message, so that clients can translate it.
    """

    def __init__(self, text: str, code: str = "refused", **params: str | int) -> None:
        super().__init__(text)
        self.code = code
        self.params = params


class UnreachableError(SyncError):
    """Cannot connect to a database, so any further work with it would fail too."""


class SourceError(SyncError):
    """The source is unreachable, rejects the request, or does not match the dataset."""


class NotReadyError(SyncError):
    """The source does not have the day's complete data yet."""


class TargetError(SyncError):
    """The target is unreachable or rejects a statement, or its table does not match the source."""


class DayNotEmptyError(TargetError):
    """The day already has rows, which the dataset's write mode does not replace."""


class SourceUnreachableError(SourceError, UnreachableError):
    """Cannot connect to the source database."""


class TransientSourceError(SourceError):
    """The source failed, but a retry may succeed, whatever the underlying driver error is."""


class TargetUnreachableError(TargetError, UnreachableError):
    """Cannot connect to the target database."""


class TrackingError(SyncError):
    """The tracking tables are unavailable; a sync continues without them."""


class RecordRejectedError(SyncError):
    """The tracking tables are available but reject a record; the day is not loaded."""


class BusyError(TrackingError):
    """Too many requests are using the tracking tables at the same time; retry in a moment."""


class CountMismatchError(SyncError):
    """The target loaded a different number of rows than the source returned."""


class VolumeError(SyncError):
    """The source has fewer rows of a day than the dataset allows."""


class RejectedRowsError(SyncError):
    """The target rejected more rows of a day than the dataset allows."""


class DayLockedError(SyncError):
    """Another session holds the lock on this day of the dataset."""


class SupersededError(SyncError):
    """A later attempt for the same day has started, so this attempt's rows are rolled back."""


class DayDoneError(SyncError):
    """Another worker has already synced the day, so nothing is left to do."""


class BatchCancelledError(SyncError):
    """The batch was cancelled, so no more of its days are started."""


class WorkerLostError(SupersededError):
    """This worker missed its heartbeat and was declared lost, so it must stop."""


class WorkerOutdatedError(SyncError):
    """The tracking tables do not fit this version of the code, so the worker must stop."""


class MigrationError(SyncError):
    """The tracking tables are not at the version that this code requires, or a migration failed."""


class EmbeddedPostgresError(SyncError):
    """The embedded PostgreSQL could not be started or stopped."""


class StackError(SyncError):
    """Dagster could not be started, or does not respond."""


class NoResponseError(StackError):
    """Dagster did not complete its response, so it may or may not have executed the request."""


# Matches up to the last @, in case an @ in the password is not percent-encoded.
_URL_PASSWORD = re.compile(r"(?P<head>\b[\w+.-]+://[^\s:/@]*):\S*@")
_QUERY_PASSWORD = re.compile(r"(?P<head>[?&]\w*password=)[^\s&'\"]+", re.I)
# As in libpq, a quoted value may contain spaces, and a backslash escapes any character.
_KEYWORD_PASSWORD = re.compile(
    r"(?P<head>(?<![?&\w])\w*password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)+)", re.I
)


# PostgreSQL quotes the whole row that violates a constraint; its values may be confidential.
_FAILING_ROW = re.compile(
    r"\s*DETAIL:\s+Failing row contains \(.*?\)\.?(?=\s+(?:CONTEXT|HINT):|\s*\Z)", re.S
)


def redact(text: str, *secrets: str) -> str:
    """Return `text` with passwords replaced by `***`.

    Replaces the password in anything that looks like a URL, every `password=…` in a libpq
    connection string or URL query, and each of `secrets` wherever it occurs.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        if secret:
            text = text.replace(secret, "***")
    for pattern in (_QUERY_PASSWORD, _KEYWORD_PASSWORD):
        text = pattern.sub(r"\g<head>***", text)
    return _URL_PASSWORD.sub(r"\g<head>:***@", text)


def one_line(error: BaseException, *secrets: str, limit: int = 2000) -> str:
    """Return the message of `error` as one line without secrets, cut to `limit` characters.

    Records, logs and the terminal show errors in this form. The values of a rejected row are
    removed, and control characters, which could come from a source's data, are escaped. An error
    that is neither a SyncError nor a driver error is prefixed with its class name; an error without
    a message is shown as its class name.
    """
    text = " ".join(redact(_FAILING_ROW.sub("", str(error)), *secrets).split())
    if not isinstance(error, SyncError) and not _is_driver_error(error):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    text = visible(text) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def visible(text: str) -> str:
    """Return `text` with characters that are not printable as escapes, such as ``\\x1b``.

    These are control characters, which a terminal would obey; characters that hide or reorder text;
    and what PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot store.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_driver_error(error: BaseException) -> bool:
    return type(error).__module__.startswith("psycopg2")
