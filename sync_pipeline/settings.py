"""Settings: what the environment says, read once, checked, and never printed.

Everything about one dataset stands in its `defs.yaml`; everything about the machine stands here.
`.env.example` lists each setting; a test keeps the two in step. A setting is read when it is
needed, so that a command that does not touch the target does not need its URL.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from dotenv import dotenv_values

from sync_pipeline.errors import SettingError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DATABASE_URL = "SYNC_DATABASE_URL"
TRACKING_URL = "SYNC_TRACKING_URL"
DAGSTER_STORAGE_URL = "SYNC_DAGSTER_STORAGE_URL"
DATA_DIR = "SYNC_DATA_DIR"
COMPUTE_LOG_DIR = "SYNC_COMPUTE_LOG_DIR"
SOURCE_URL = "SYNC_SOURCE_URL"
PAGE_URL = "SYNC_PAGE_URL"
DAGSTER_WEBSERVER_URL = "SYNC_DAGSTER_WEBSERVER_URL"
DAGSTER_PUBLIC_URL = "SYNC_DAGSTER_PUBLIC_URL"
API_TRACKING_URL = "SYNC_API_TRACKING_URL"
API_TOKENS = "SYNC_API_TOKENS"
API_SECRET = "SYNC_API_SECRET"  # noqa: S105  a setting's name
PROJECT_DIR = "SYNC_PROJECT_DIR"
LOST_AFTER_SECONDS = "SYNC_LOST_AFTER_SECONDS"
DAGSTER_SCHEMA = "dagster"
RENAMED = {
    "SYNC_DAGSTER_URL": DAGSTER_STORAGE_URL,
    "SYNC_DAGSTER_UI_URL": DAGSTER_WEBSERVER_URL,
    "SYNC_DAGSTER_LINK_URL": DAGSTER_PUBLIC_URL,
}
"""The current setting, by its name before the first release; an old name is refused."""


@dataclass(frozen=True)
class Settings:
    """The environment's settings. URLs carry secrets: `repr` leaves them out.

    Raises SettingError if the environment still sets a name in `RENAMED`.
    """

    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        for old, new in RENAMED.items():
            if self.environment.get(old, "").strip():
                raise SettingError(f"{old} was renamed; set {new} instead")

    def __repr__(self) -> str:
        return "Settings(…)"

    @property
    def database_url(self) -> str:
        """The target database's URL. Raises SettingError when `SYNC_DATABASE_URL` is not set."""
        return self.postgres_url(DATABASE_URL)

    @property
    def tracking_url(self) -> str:
        """Where `daily_sync_status` lives: `SYNC_TRACKING_URL`, else the target database."""
        return self.postgres_url(self.tracking_setting)

    @property
    def tracking_setting(self) -> str:
        """The name of the setting that `tracking_url` comes from."""
        return TRACKING_URL if self.environment.get(TRACKING_URL) else DATABASE_URL

    @property
    def dagster_storage_url(self) -> str:
        """Dagster's storage: `SYNC_DAGSTER_STORAGE_URL`, else schema `dagster` of the target database.

        Names the psycopg2 driver, because SQLAlchemy 2.1 reads plain `postgresql://` as psycopg 3,
        with which dagster-postgres fails.
        """
        if self.environment.get(DAGSTER_STORAGE_URL):
            return with_driver(self.postgres_url(DAGSTER_STORAGE_URL))
        return with_driver(with_search_path(self.database_url, DAGSTER_SCHEMA))

    @property
    def data_dir(self) -> Path:
        """The folder for the embedded PostgreSQL, Dagster's files and demo data (absolute)."""
        return Path(self.environment.get(DATA_DIR) or PROJECT_ROOT / ".data").expanduser().resolve()

    def make_data_dir(self) -> Path:
        """Make the data folder if it is not there; return it. Raises SettingError."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"{DATA_DIR}: {self.data_dir} cannot be made a folder: {error.strerror}; set it to "
                "a folder that you may write into"
            ) from None
        return self.data_dir

    @property
    def project_dir(self) -> Path:
        """The folder of the pyproject.toml whose datasets are synced (absolute); this checkout's
        by default."""
        return Path(self.environment.get(PROJECT_DIR) or PROJECT_ROOT).expanduser().resolve()

    @property
    def lost_after_seconds(self) -> float:
        """After how many seconds without a sign of life a worker may be lost; 20 by default.
        It is held for lost if it stays silent for half as long again.

        Raises SettingError if it is not a number from 1 to 3600.
        """
        text = self.environment.get(LOST_AFTER_SECONDS, "").strip() or "20"
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 1 <= seconds <= 3600:
            raise SettingError(
                f"{LOST_AFTER_SECONDS} is {text!r}; set it to seconds from 1 to 3600, such as 20"
            )
        return seconds

    @property
    def page_url(self) -> str | None:
        """The base address of the status page, for links in Dagster's metadata; None if unset."""
        url = self.environment.get(PAGE_URL, "").rstrip("/")
        return url or None

    def required(self, name: str, what: str) -> str:
        """Return the value of setting `name`. Raises SettingError, which says `what` it is for."""
        value = self.environment.get(name, "").strip()
        if not value:
            raise SettingError(f"{name} is not set; set it to {what}")
        return value

    def secrets_in(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return what of these settings must not be shown: a URL's passwords, else the value."""
        found: list[str] = []
        for name in names:
            value = self.environment.get(name, "").strip()
            found += secrets_of(value) if "://" in value else [value] if value else []
        return tuple(found)

    def postgres_url(self, name: str) -> str:
        """Return the PostgreSQL URL in setting `name`.

        Raises SettingError, which names the setting and never its value, when it is missing or
        is not a `postgresql://` URL.
        """
        value = self.environment.get(name, "").strip()
        if not value:
            raise SettingError(
                f"{name} is not set. Set it to postgresql://user:password@host:port/database "
                "(see .env.example), or start with 'sync-pipeline dev', which sets up everything."
            )
        try:
            parts = urlsplit(value)
            parts.port  # noqa: B018  reading it is the check
            if may_cut_a_password(parts):
                raise ValueError
        except ValueError:
            raise SettingError(
                f"{name} is not a valid URL. A '/', '@', '#' or '%' in the user name or password "
                "must be percent-encoded: postgresql://user:password@host:port/database."
            ) from None
        if parts.scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise SettingError(
                f"{name} must begin with postgresql:// and name one database: "
                "postgresql://user:password@host:port/database."
            )
        return _url(parts)


def current_settings() -> Settings:
    """Return the settings of this process's environment as it is now."""
    return Settings(dict(os.environ))


def load_settings(folder: Path = PROJECT_ROOT) -> Settings:
    """Return the settings of the environment, and for what it leaves open of `.env` in the folder
    of the project whose datasets are synced, then in `folder`."""
    given = Settings({**_env_file(folder), **os.environ})
    return Settings({**given.environment, **_env_file(given.project_dir), **os.environ})


def _env_file(folder: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(folder / ".env").items()}


def with_driver(url: str) -> str:
    """Return `url` naming the psycopg2 driver, the form SQLAlchemy needs."""
    return _url(urlsplit(url), scheme="postgresql+psycopg2")


def with_search_path(url: str, schema: str) -> str:
    """Return `url` with sessions that see `schema` first, through libpq's `options`."""
    parts = urlsplit(url)
    query = dict(_query(parts))
    query["options"] = f"{query.get('options', '')} -csearch_path={schema}".strip()
    return _url(parts._replace(query=urlencode(query, quote_via=quote)))


def with_database(url: str, database: str) -> str:
    """Return `url` with another database on the same server."""
    return _url(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


def may_cut_a_password(parts: SplitResult) -> bool:
    """Return whether what a driver would read as host or database, and show, may be half a
    password, of which a sign is not percent-encoded."""
    return parts.netloc.count("@") > 1 or "@" in parts.path or bool(parts.fragment)


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the passwords of `url` as written and decoded, for redacting; empty if it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    in_query = [value for name, value in _query(parts) if name in ("password", "sslpassword")]
    written = [parts.password or "", *in_query]
    return tuple(dict.fromkeys(form for text in written if text for form in (text, unquote(text))))


def _query(parts: SplitResult) -> list[tuple[str, str]]:
    # A '+' means itself to libpq, and a blank to parse_qsl.
    return parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)


def _url(parts: SplitResult, scheme: str = "postgresql") -> str:
    """Return the URL of `parts`. (`geturl` would drop the slashes of an empty authority.)"""
    return f"{scheme}://{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
