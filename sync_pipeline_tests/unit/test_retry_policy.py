"""Which errors are retried, and how long the backoffs are."""

import psycopg2
import pytest

from sync_pipeline.config.dataset import Retry
from sync_pipeline.errors import (
    CountMismatchError,
    DayLockedError,
    SourceError,
    SupersededError,
    SyncError,
    TargetError,
)
from sync_pipeline.retry import backoffs, is_transient, retry

pytestmark = pytest.mark.unit


def coded(state: str) -> psycopg2.Error:
    """Return a server error with this SQLSTATE."""
    kind = type("Coded", (psycopg2.OperationalError,), {"pgcode": state})
    error: psycopg2.Error = kind("a server error")
    return error


def connection_error(text: str) -> psycopg2.Error:
    """Return the error for a failed connection, with this message from libpq."""
    return psycopg2.OperationalError(f'connection to server at "db", port 5432 failed: {text}')


def raised_from(cause: Exception, error: SyncError, *, hidden: bool = False) -> SyncError:
    """Raise `error` in an exception handler for `cause`, catch it, and return it."""
    try:
        try:
            raise cause
        except Exception as caught:
            if hidden:
                raise error from None
            raise error from caught
    except SyncError as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        *map(coded, ("08006", "57P01", "57P02", "57P03", "53300", "55P03", "40001", "40P01")),
        psycopg2.OperationalError("server closed the connection unexpectedly"),
        psycopg2.InterfaceError("connection already closed"),
        psycopg2.DatabaseError("error with status PGRES_COPY_OUT and no message from the libpq"),
        connection_error("Connection refused"),
        connection_error("timeout expired"),
        connection_error("FATAL:  the database system is starting up"),
        connection_error("FATAL:  sorry, too many clients already"),
        connection_error("FATAL:  terminating connection due to administrator command"),
        psycopg2.OperationalError('could not translate host name "db" to address: try again'),
    ],
    ids=str,
)
def test_a_temporary_error_is_transient_even_as_the_cause_of_a_sync_error(
    error: psycopg2.Error,
) -> None:
    assert is_transient(error)
    assert is_transient(raised_from(error, SourceError("cannot read")))
    assert is_transient(raised_from(error, TargetError("cannot connect"), hidden=True))


@pytest.mark.parametrize(
    "error",
    [
        *map(coded, ("23514", "22P02", "42P01", "57014", "53100", "42501")),
        psycopg2.InterfaceError("cursor already closed"),
        psycopg2.ProgrammingError("the cursor is not open"),
        connection_error('FATAL:  password authentication failed for user "ada"'),
        connection_error('FATAL:  database "nowhere" does not exist'),
        connection_error('FATAL:  role "ada" does not exist'),
        connection_error('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ada"'),
        connection_error('FATAL:  permission denied for database "x"'),
        connection_error("fe_sendauth: no password supplied"),
        connection_error("server does not support SSL, but SSL was required"),
    ],
    ids=str,
)
def test_a_lasting_error_is_permanent(error: psycopg2.Error) -> None:
    assert not is_transient(error)
    assert not is_transient(raised_from(error, SourceError("cannot read"), hidden=True))


@pytest.mark.parametrize(
    "error", [DayLockedError("locked"), CountMismatchError("3, not 4"), SupersededError("lost")]
)
def test_a_locked_superseded_or_miscounted_day_is_a_permanent_error_for_any_cause(
    error: SyncError,
) -> None:
    assert not is_transient(raised_from(coded("55P03"), error))


def test_a_bug_is_permanent_even_in_the_handler_for_a_lost_connection() -> None:
    bug = TypeError("not a number")
    bug.__context__ = coded("08006")
    assert not is_transient(bug)
    assert not is_transient(SourceError("without a cause"))


def test_backoffs_double_up_to_a_maximum_and_vary() -> None:
    found = list(backoffs(Retry(max_attempts=9, initial_backoff_seconds=1)))
    for backoff, expected in zip(found, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert expected * 0.9 <= backoff <= expected * 1.1
    assert found[5] != found[6]
    assert list(backoffs(Retry(max_attempts=1))) == []


def test_the_error_from_the_last_attempt_is_raised_and_a_success_is_returned() -> None:
    policy = Retry(max_attempts=3, initial_backoff_seconds=0.001)
    errors: list[Exception] = [coded("08006"), coded("40001"), coded("57P01")]
    remaining, retried = list(errors), []

    def work() -> str:
        if remaining:
            raise remaining.pop(0)
        return "done"

    with pytest.raises(psycopg2.Error) as caught:
        retry(work, policy, lambda error, backoff: retried.append(error))
    assert (caught.value, retried) == (errors[2], errors[:2])
    assert retry(work, policy, lambda error, backoff: retried.append(error)) == "done"
    assert len(retried) == 2
