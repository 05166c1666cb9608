"""What can go wrong, in words a person can act on.

One short hierarchy. Every message names the dataset, the day or the setting it is about, and
what to do next. Anything derived from `SyncError` is shown as one line, without a stack; anything
else is a bug of ours and keeps its stack. How a driver's error becomes one of these, and how
secrets are kept out of text, stands here too, because it must be the same everywhere.
"""

import re


class SyncError(Exception):
    """Something the user can mend; its text is one line and names what to do."""


class SettingError(SyncError):
    """A setting in the environment or a key in a `defs.yaml` is missing or wrong."""


class RequestError(SyncError):
    """What was asked for cannot be done: unknown dataset, dates reversed, unknown batch.

    `code` is that in one word, and `params` what the sentence is about, for whoever says it in
    another language.
    """

    def __init__(self, text: str, code: str = "refused", **params: str | int) -> None:
        super().__init__(text)
        self.code = code
        self.params = params


class UnreachableError(SyncError):
    """A database cannot be connected to: what is tried next with it would fail likewise."""


class SourceError(SyncError):
    """The source cannot be reached, refuses, or does not hold what the dataset names."""


class NotReadyError(SyncError):
    """The source does not have the day yet; it may have it later."""


class TargetError(SyncError):
    """The target cannot be reached, refuses, or its table does not fit the source."""


class SourceUnreachableError(SourceError, UnreachableError):
    """The source's database cannot be connected to."""


class TransientSourceError(SourceError):
    """The source failed in a way that another try may mend, whatever its driver's error is."""


class TargetUnreachableError(TargetError, UnreachableError):
    """The target's database cannot be connected to."""


class TrackingError(SyncError):
    """The tracking tables cannot be reached; a sync goes on without them."""


class BusyError(TrackingError):
    """Too much is asked of the tracking tables at once; a moment later there is room again."""


class CountMismatchError(SyncError):
    """The target took another number of rows than the source gave; the day was rolled back."""


class RejectedRowsError(SyncError):
    """The target did not take more rows of a day than the dataset lets it; it was rolled back."""


class DayLockedError(SyncError):
    """Another worker holds this dataset's day; it was waited for as long as the setting allows."""


class SupersededError(SyncError):
    """A later attempt at the same day began while this one worked; this one's rows were refused."""


class DayDoneError(SyncError):
    """A day that was to be synced has been brought in meanwhile; nothing is left to do."""


class BatchCancelledError(SyncError):
    """The batch was cancelled while its run was on its way; it begins no day more."""


class WorkerLostError(SupersededError):
    """This worker fell silent and was taken for lost; its run was ended, and it must stop."""


class MigrationError(SyncError):
    """The tracking tables cannot be brought to, or are not at, the version this code needs."""


class EmbeddedPostgresError(SyncError):
    """The embedded PostgreSQL could not be started or stopped."""


class StackError(SyncError):
    """Dagster could not be started or does not answer."""


class NoResponseError(StackError):
    """Dagster was asked and did not answer to the end: it may have done what it was asked for."""


# Up to the last @ of the word: whoever forgets to encode an @ in a password is covered too.
_URL_PASSWORD = re.compile(r"(?P<head>\b[\w+.-]+://[^\s:/@]*):\S*@")
_QUERY_PASSWORD = re.compile(r"(?P<head>[?&]\w*password=)[^\s&'\"]+", re.I)
# libpq's own rules: a quoted value may hold blanks, any value a backslash before anything.
_KEYWORD_PASSWORD = re.compile(
    r"(?P<head>(?<![?&\w])\w*password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)+)", re.I
)


# The whole of a row that a constraint refused: other people's data, not a reason.
_FAILING_ROW = re.compile(
    r"\s*DETAIL:\s+Failing row contains \(.*?\)\.?(?=\s+(?:CONTEXT|HINT):|\s*\Z)", re.S
)


def redact(text: str, *secrets: str) -> str:
    """Return `text` with passwords replaced by `***`.

    Hides the password part of anything that looks like a URL, every `password=…` of a libpq
    connection string or a URL's query, and each of `secrets` wherever it stands.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin with another
        if secret:
            text = text.replace(secret, "***")
    for pattern in (_QUERY_PASSWORD, _KEYWORD_PASSWORD):
        text = pattern.sub(r"\g<head>***", text)
    return _URL_PASSWORD.sub(r"\g<head>:***@", text)


def one_line(error: BaseException, *secrets: str, limit: int = 2000) -> str:
    """Return what `error` says as one line without secrets, at most `limit` characters.

    The form in which an error enters a record, a log line or the terminal, without the contents of
    a row that the database refused. A driver's error
    without text, or an exception of ours that carries none, is named by its class.
    """
    text = " ".join(redact(_FAILING_ROW.sub("", str(error)), *secrets).split())
    if not isinstance(error, SyncError) and not _is_driver_error(error):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # PostgreSQL takes no NUL in a text, and UTF-8 no lone surrogate.
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode() or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_driver_error(error: BaseException) -> bool:
    return type(error).__module__.startswith("psycopg2")
