"""Which errors are worth another try, and how long the pauses before it are."""

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
from sync_pipeline.retry import again, is_transient, pauses

pytestmark = pytest.mark.unit


def coded(state: str) -> psycopg2.Error:
    """An error with this SQLSTATE, as the server sends it."""
    kind = type("Coded", (psycopg2.OperationalError,), {"pgcode": state})
    error: psycopg2.Error = kind("said by the server")
    return error


def refused(text: str) -> psycopg2.Error:
    """A connection that was refused, as libpq says it."""
    return psycopg2.OperationalError(f'connection to server at "db", port 5432 failed: {text}')


def raised_from(cause: Exception, error: SyncError, *, hidden: bool = False) -> SyncError:
    """`error` as it comes out of a handler of `cause`."""
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
        refused("Connection refused"),
        refused("timeout expired"),
        refused("FATAL:  the database system is starting up"),
        refused("FATAL:  sorry, too many clients already"),
        refused("FATAL:  terminating connection due to administrator command"),
        psycopg2.OperationalError('could not translate host name "db" to address: try again'),
    ],
    ids=str,
)
def test_what_may_pass_is_transient_by_itself_and_as_the_cause_of_ours(
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
        refused('FATAL:  password authentication failed for user "ada"'),
        refused('FATAL:  database "nowhere" does not exist'),
        refused('FATAL:  role "ada" does not exist'),
        refused('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ada"'),
        refused('FATAL:  permission denied for database "x"'),
        refused("fe_sendauth: no password supplied"),
        refused("server does not support SSL, but SSL was required"),
    ],
    ids=str,
)
def test_what_stays_is_permanent(error: psycopg2.Error) -> None:
    assert not is_transient(error)
    assert not is_transient(raised_from(error, SourceError("cannot read"), hidden=True))


@pytest.mark.parametrize(
    "error", [DayLockedError("held"), CountMismatchError("3, not 4"), SupersededError("lost")]
)
def test_a_day_that_is_held_or_taken_or_miscounted_is_permanent_whatever_it_came_from(
    error: SyncError,
) -> None:
    assert not is_transient(raised_from(coded("55P03"), error))


def test_a_bug_is_permanent_even_while_a_lost_connection_is_handled() -> None:
    bug = TypeError("not a number")
    bug.__context__ = coded("08006")
    assert not is_transient(bug)
    assert not is_transient(SourceError("without a cause"))


def test_pauses_double_up_to_a_bound_and_are_not_all_alike() -> None:
    found = list(pauses(Retry(max_attempts=9, initial_backoff_seconds=1)))
    for pause, about in zip(found, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert about * 0.9 <= pause <= about * 1.1
    assert found[5] != found[6]
    assert list(pauses(Retry(max_attempts=1))) == []


def test_the_last_try_raises_what_it_raised_and_one_that_works_returns() -> None:
    retry = Retry(max_attempts=3, initial_backoff_seconds=0.001)
    errors: list[Exception] = [coded("08006"), coded("40001"), coded("57P01")]
    left, told = list(errors), []

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    with pytest.raises(psycopg2.Error) as caught:
        again(work, retry, lambda error, pause: told.append(error))
    assert (caught.value, told) == (errors[2], errors[:2])
    assert again(work, retry, lambda error, pause: told.append(error)) == "done"
    assert len(told) == 2
