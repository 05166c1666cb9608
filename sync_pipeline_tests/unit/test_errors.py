"""Errors are shown as one line without secrets."""

from urllib.parse import quote

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import make_dsn, parse_dsn

from sync_pipeline.errors import RequestError, SyncError, one_line, redact, visible
from sync_pipeline.settings import secrets_of

pytestmark = pytest.mark.unit

# Each password begins with letters that the surrounding text does not contain, followed by
# characters that have a special meaning in URLs or in libpq.
passwords = st.text("QXZ@:/%&'\\# $é=+", max_size=12).map("QZX".__add__)
URL = "postgresql://ada:{}@db.example:5432/target"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://ada:S3@db/x", "postgresql://ada:***@db/x"),
        ("postgresql+psycopg2://ada:S3@db/x", "postgresql+psycopg2://ada:***@db/x"),
        ("https://:S3@host/a and b", "https://:***@host/a and b"),
        ("two: a://b:S3@c d://e:S3@f", "two: a://b:***@c d://e:***@f"),
        ("postgresql://ada:S3%40S3@db/x", "postgresql://ada:***@db/x"),
        ("postgresql://ada:S3@S3@db/x", "postgresql://ada:***@db/x"),
        ("postgresql://db/x?user=a&password=S3&a=b", "postgresql://db/x?user=a&password=***&a=b"),
        ("postgresql://db/x?sslpassword=S3", "postgresql://db/x?sslpassword=***"),
        ("host=db password=S3 user=a", "host=db password=*** user=a"),
        ("host=db password = 'S3 S3' user=a", "host=db password = *** user=a"),
        (r"password='S3\'S3 S3' user=a", "password=*** user=a"),
        (r"password=S3\ S3 user=a", "password=*** user=a"),
        ("password=S3'S3&S3 user=a", "password=*** user=a"),
        ("password='S3 S3", "password=***"),
        ("PGPASSWORD=S3 psql", "PGPASSWORD=*** psql"),
        ("sslpassword=S3", "sslpassword=***"),
    ],
)
def test_a_password_is_hidden_in_every_form_of_a_connection_string(text: str, safe: str) -> None:
    assert redact(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        'FATAL:  password authentication failed for user "ada"',
        "fe_sendauth: no password supplied",
        "see https://example.org/a:b and mail me@example.org",
        "postgresql://ada@db:5432/target",
    ],
)
def test_text_without_a_password_is_unchanged(text: str) -> None:
    assert redact(text) == text


@given(passwords)
def test_a_percent_encoded_password_is_hidden_even_if_it_is_unknown(password: str) -> None:
    url = URL.format(quote(password, safe=""))
    assert redact(f"cannot reach {url}, stopping") == (
        "cannot reach postgresql://ada:***@db.example:5432/target, stopping"
    )


@given(passwords)
def test_a_password_in_a_connection_string_is_hidden_when_quoted_by_libpq(password: str) -> None:
    dsn = make_dsn(user="ada", password=password, host="db")
    assert parse_dsn(dsn)["password"] == password
    assert redact(f"dsn {dsn}") == "dsn user=ada password=*** host=db"


@given(passwords)
def test_a_password_is_hidden_in_a_drivers_message_in_any_form(password: str) -> None:
    encoded = quote(password, safe="")
    secrets = secrets_of(URL.format(encoded))
    error = psycopg2.OperationalError(f'role [{password}] or "{encoded}" is wrong')
    assert one_line(error, *secrets) == 'role [***] or "***" is wrong'


def test_the_drivers_error_about_a_malformed_password_does_not_reveal_it() -> None:
    url = URL.format("S3%zz")
    with pytest.raises(psycopg2.ProgrammingError, match="S3%zz") as caught:
        parse_dsn(url)
    assert "S3" not in one_line(caught.value, *secrets_of(url))


def test_a_secret_that_begins_with_another_one_is_hidden_completely() -> None:
    assert redact("it was S3cret", "S3", "S3cret") == "it was ***"


def test_an_empty_secret_hides_nothing() -> None:
    assert redact("unchanged", "") == "unchanged"


def test_passwords_are_found_in_all_parts_of_a_url() -> None:
    assert secrets_of("postgresql://ada:a%2Bb@db/x") == ("a%2Bb", "a+b")
    assert secrets_of("postgresql://db/x?password=S3&sslpassword=a+b") == ("S3", "a+b")
    assert secrets_of("postgresql://ada@db/x") == ()
    assert secrets_of("postgresql://[half") == ()


def test_sync_errors_and_driver_errors_are_shown_without_their_class() -> None:
    assert one_line(RequestError("dataset flights:\n  unknown")) == "dataset flights: unknown"
    assert one_line(psycopg2.OperationalError("server\n\tclosed\n")) == "server closed"


def test_an_unexpected_error_is_shown_with_its_class() -> None:
    assert one_line(KeyError("day")) == "KeyError: 'day'"


@pytest.mark.parametrize("error", [SyncError(), psycopg2.OperationalError(), ZeroDivisionError()])
def test_an_error_without_a_message_is_shown_as_its_class(error: Exception) -> None:
    assert one_line(error) == type(error).__name__


def test_a_long_error_is_truncated_after_secrets_are_hidden() -> None:
    error = SyncError("x" * 15 + " password=" + "S3" * 50 + " and more")
    assert one_line(error, limit=29) == "x" * 15 + " password=***…"


@given(st.text())
def test_an_error_is_always_one_line_within_the_limit(text: str) -> None:
    shown = one_line(SyncError(text), limit=40)
    assert len(shown) <= 40
    assert len(shown.splitlines()) == 1


def test_the_values_of_a_rejected_row_are_not_shown() -> None:
    error = psycopg2.errors.CheckViolation(
        'new row for relation "people" violates check constraint "of_age"\n'
        "DETAIL:  Failing row contains (17, Ada (the first), null).\n"
        "CONTEXT:  COPY people, line 3\n"
    )
    assert one_line(error) == (
        'new row for relation "people" violates check constraint "of_age" '
        "CONTEXT: COPY people, line 3"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;Y29weQ==\x07", "\\x1b]52;c;Y29weQ==\\x07"),  # sets the clipboard
        ("\x1b[2J\x1b[8mhidden", "\\x1b[2J\\x1b[8mhidden"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202ecba", "a\\u202ecba"),  # right to left
        ("a\u200bb", "a\\u200bb"),
        ("a\0b\ud800", "a\\x00b\\ud800"),
        ("订单 é 😀 [red]", "订单 é 😀 [red]"),
    ],
)
def test_characters_that_a_terminal_would_obey_are_shown_as_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert one_line(SyncError(text)) == shown


@given(st.text())
def test_an_error_is_always_printable(text: str) -> None:
    assert one_line(SyncError(text)).isprintable()
