"""Use Alembic to migrate the tracking tables to the version that this code needs.

Migrations are numbered and forward-only. They run in one transaction under an advisory lock, so
they run only once even if several processes start at the same time. After them, the functions in
`functions.sql` are installed if that file has changed. The tables are a public contract: see
docs/contract.md. Does not contain the migrations: see `migrations/versions/`.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

import alembic.command
import alembic.op
import psycopg2
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2 import errors
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from sync_pipeline.database.connections import connect
from sync_pipeline.errors import MigrationError, one_line
from sync_pipeline.settings import secrets_of

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

VERSION_TABLE = "sync_pipeline_version"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sync_pipeline: migrate', 0))"
_FUNCTIONS_COMMENT = "Version of the tracking tables; their functions are "
_INSTALLED = f"SELECT obj_description('{VERSION_TABLE}'::regclass)"
_FUNCTION = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)", re.M)
_MISSING = """
SELECT name FROM unnest(%s) AS name
WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name AND pg_function_is_visible(oid))
"""
# Functions that run with their owner's privileges keep this search path.
_PIN_SCHEMA = "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)"
# A session that waits to alter a table blocks all later sessions, so wait briefly and retry.
_LOCK_TIMEOUT_SECONDS = 2
_MAX_ATTEMPTS = 20
_RETRY_SECONDS = 1.0


def migrate(url: str, setting: str, to: str = "head") -> str:
    """Migrate the tracking tables at `url` to version `to`; return the version this code needs.

    Does not hold up running batches or readers: waits only briefly for a table that is in use, then
    retries. `setting` is the environment variable that contains the URL. Raises MigrationError if
    the database cannot be reached or changed, or if it is newer than this code.
    """
    for left in reversed(range(_MAX_ATTEMPTS)):
        try:
            with _connection(url, setting, "cannot migrate") as connection, connection.begin():
                _upgrade(connection, setting, to)
            break
        except MigrationError as error:
            if not left or not _is_in_use(error):
                raise
        time.sleep(_RETRY_SECONDS)
    return code_version()


def _upgrade(connection: Connection, setting: str, to: str) -> None:
    connection.exec_driver_sql(_LOCK)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'")
    _refuse_newer(_version(connection), setting)
    config = _config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, to)
    if to == "head":
        _install_functions(connection)


def _install_functions(connection: Connection) -> None:
    """Install the functions in `functions.sql`, unless they are installed already."""
    text = _functions()
    comment = _FUNCTIONS_COMMENT + hashlib.sha256(text.encode()).hexdigest()
    installed = connection.exec_driver_sql(_INSTALLED).scalar()
    if installed != comment or _missing_functions(connection):
        connection.exec_driver_sql(_PIN_SCHEMA)
        _execute(connection, text)
        _execute(connection, f"COMMENT ON TABLE {VERSION_TABLE} IS '{comment}'")


def _functions() -> str:
    return resources.files(__package__).joinpath("functions.sql").read_text("utf-8")


def _missing_functions(connection: Connection) -> list[str]:
    """Return the names of the functions in `functions.sql` that are not installed."""
    names = _FUNCTION.findall(_functions())
    cursor = connection.connection.cursor()
    cursor.execute(_MISSING, [names])
    missing = [name for (name,) in cursor.fetchall()]
    cursor.close()
    return missing


def _is_in_use(error: MigrationError) -> bool:
    cause = error.__cause__
    cause = cause.orig if isinstance(cause, DBAPIError) else cause
    return isinstance(cause, (errors.LockNotAvailable, errors.DeadlockDetected))


def check_version(url: str, setting: str) -> str:
    """Return the version of the tracking tables at `url`.

    Raises MigrationError if it cannot be read or is not the version that this code needs.
    """
    with _connection(url, setting, "cannot read the version of") as connection:
        found = _version(connection)
        missing = [] if found is None else _missing_functions(connection)
    _refuse_newer(found, setting)
    if found != code_version():
        raise MigrationError(
            f"the tracking tables in the {setting} database are "
            f"{'missing' if found is None else f'at version {found}'}, but this code needs "
            f"{code_version()}; run: sync-pipeline migrate"
        )
    if missing:
        raise MigrationError(
            f"the {setting} database has the tracking tables, but not the function {missing[0]}; "
            "run: sync-pipeline migrate"
        )
    return found


def version_of(cursor: "Cursor") -> str | None:
    """Return the version of the tracking tables, read with `cursor`; None if there is none."""
    cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608  a constant
    row = cursor.fetchone()
    return None if row is None else str(row[0])


def code_version() -> str:
    """Return the version of the tracking tables that this code needs, such as ``0001``."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise MigrationError("the migrations are missing; reinstall sync-pipeline")
    return head


def run_sql(file: str) -> None:
    """Run the SQL file `file` from the folder `migrations/versions`. Called by the migrations."""
    text = resources.files(f"{__package__}.migrations.versions").joinpath(file).read_text("utf-8")
    _execute(alembic.op.get_bind(), text)


def _execute(connection: Connection, text: str) -> None:
    # Use a driver cursor, because SQLAlchemy would treat % and : in the text as parameters.
    cursor = connection.connection.cursor()
    cursor.execute(text)
    cursor.close()


def _refuse_newer(found: str | None, setting: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise MigrationError(
            f"the tracking tables in the {setting} database are at version {found}, newer than "
            f"this code's {code_version()}; upgrade sync-pipeline, or point {setting} at another "
            "database. Nothing was changed"
        )


def _version(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "sync_pipeline:database/migrations")
    return config


@contextmanager
def _connection(url: str, setting: str, doing: str) -> Iterator[Connection]:
    """Yield a connection to `url`.

    Raises MigrationError for database errors, including those raised inside the block.
    """
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: connect(url, setting=setting, purpose="migrate", error=MigrationError),
        poolclass=NullPool,
    )
    try:
        with engine.connect() as connection:
            yield connection
    except (DBAPIError, psycopg2.Error) as error:
        cause = error.orig or error if isinstance(error, DBAPIError) else error
        raise MigrationError(
            f"{doing} the database in {setting}: {one_line(cause, *secrets_of(url))}; "
            "nothing was changed"
        ) from error
