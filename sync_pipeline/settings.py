"""The settings of this machine, read from environment variables and `.env` files.

Does not contain dataset settings: see `config/dataset.py`. `.env.example` lists every setting; a
test compares it with the code. A setting is checked when it is used, so a command that does not use
the target does not need its URL. Values are never printed.
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
BACKFILL_INTERVAL_SECONDS = "SYNC_BACKFILL_INTERVAL_SECONDS"
FORK_RUNS = "SYNC_FORK_RUNS"
DAGSTER_SCHEMA = "dagster"
RENAMED = {
    "SYNC_DAGSTER_URL": DAGSTER_STORAGE_URL,
    "SYNC_DAGSTER_UI_URL": DAGSTER_WEBSERVER_URL,
    "SYNC_DAGSTER_LINK_URL": DAGSTER_PUBLIC_URL,
}
"""The new name of each setting that was renamed before the first release."""


@dataclass(frozen=True)
class Settings:
    """The settings in `environment`. `repr` hides all values, because URLs contain secrets.

    Raises SettingError if a renamed setting is still set under its old name.
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
        """The URL of the target database. Raises SettingError if `SYNC_DATABASE_URL` is not set."""
        return self.postgres_url(DATABASE_URL)

    @property
    def tracking_url(self) -> str:
        """The URL of the tracking database: `SYNC_TRACKING_URL`, by default the target database."""
        return self.postgres_url(self.tracking_setting)

    @property
    def tracking_setting(self) -> str:
        """The name of the setting that `tracking_url` is read from."""
        return TRACKING_URL if self.environment.get(TRACKING_URL) else DATABASE_URL

    @property
    def dagster_storage_url(self) -> str:
        """The URL of Dagster's storage: `SYNC_DAGSTER_STORAGE_URL`, by default the schema `dagster`
        in the target database.

        Specifies the psycopg2 driver, because dagster-postgres does not work with psycopg 3, which
        SQLAlchemy 2.1 uses for `postgresql://`.
        """
        if self.environment.get(DAGSTER_STORAGE_URL):
            return with_driver(self.postgres_url(DAGSTER_STORAGE_URL))
        return with_driver(with_search_path(self.database_url, DAGSTER_SCHEMA))

    @property
    def data_dir(self) -> Path:
        """The absolute path of the folder for the files of the embedded PostgreSQL and Dagster."""
        return Path(self.environment.get(DATA_DIR) or PROJECT_ROOT / ".data").expanduser().resolve()

    def make_data_dir(self) -> Path:
        """Create the data folder if necessary; return it. Raises SettingError on failure."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"{DATA_DIR}: the folder {self.data_dir} cannot be created: {error.strerror}; "
                "set it to a folder that you can write to"
            ) from None
        return self.data_dir

    @property
    def project_dir(self) -> Path:
        """The absolute path of the project whose datasets are synced (the folder that contains its
        pyproject.toml); by default this checkout."""
        return Path(self.environment.get(PROJECT_DIR) or PROJECT_ROOT).expanduser().resolve()

    @property
    def lost_after_seconds(self) -> float:
        """The number of seconds without a heartbeat after which a worker is suspected to be lost;
        20 by default. It is declared lost if it stays silent for half as long again.

        Raises SettingError if the value is not a number from 1 to 3600.
        """
        return self._seconds(LOST_AFTER_SECONDS, 20)

    @property
    def backfill_interval_seconds(self) -> float:
        """The number of seconds between two checks for backfills by the daemon that
        `sync-pipeline daemon` runs; 2 by default.

        Raises SettingError if the value is not a number from 1 to 3600.
        """
        return self._seconds(BACKFILL_INTERVAL_SECONDS, 2)

    @property
    def fork_runs(self) -> bool:
        """Whether Dagster forks runs from a process that has imported it; true by default.

        Raises SettingError if the value is neither true nor false.
        """
        text = self.environment.get(FORK_RUNS, "").strip().lower() or "true"
        if text not in ("true", "false"):
            raise SettingError(f"{FORK_RUNS} is {text!r}; set it to true or false")
        return text == "true"

    @property
    def page_url(self) -> str | None:
        """The base URL of the page, for links in Dagster's metadata, or None if it is not set."""
        url = self.environment.get(PAGE_URL, "").rstrip("/")
        return url or None

    def _seconds(self, name: str, default: int) -> float:
        text = self.environment.get(name, "").strip() or str(default)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 1 <= seconds <= 3600:
            raise SettingError(f"{name} is {text!r}; set it to a number of seconds from 1 to 3600")
        return seconds

    def require(self, name: str, what: str) -> str:
        """Return the value of the setting `name`. Raises SettingError if it is not set; the message
        describes the value as `what`."""
        value = self.environment.get(name, "").strip()
        if not value:
            raise SettingError(f"{name} is not set; set it to {what}")
        return value

    def secrets_in(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the secrets in these settings: the passwords in each URL, and every other value
        as a whole."""
        found: list[str] = []
        for name in names:
            value = self.environment.get(name, "").strip()
            found += secrets_of(value) if "://" in value else [value] if value else []
        return tuple(found)

    def postgres_url(self, name: str) -> str:
        """Return the PostgreSQL URL in the setting `name`.

        Raises SettingError, which never contains the value, if the setting is missing or is not a
        `postgresql://` URL.
        """
        value = self.environment.get(name, "").strip()
        if not value:
            raise SettingError(
                f"{name} is not set. Set it to postgresql://user:password@host:port/database "
                "(see .env.example), or run 'sync-pipeline dev', which starts PostgreSQL for you."
            )
        try:
            parts = urlsplit(value)
            parts.port  # noqa: B018  raises ValueError if it is not valid
            if may_contain_a_password(parts):
                raise ValueError
        except ValueError:
            raise SettingError(
                f"{name} is not a valid URL. A '/', '@', '#' or '%' in the user name or password "
                "must be percent-encoded: postgresql://user:password@host:port/database."
            ) from None
        if parts.scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise SettingError(
                f"{name} must begin with postgresql:// and name a database: "
                "postgresql://user:password@host:port/database."
            )
        return _url(parts)


def current_settings() -> Settings:
    """Return the settings in the current environment of this process."""
    return Settings(dict(os.environ))


def load_settings(folder: Path = PROJECT_ROOT) -> Settings:
    """Return the settings in the environment and in two `.env` files.

    The environment takes precedence over the file in the project's folder, which takes precedence
    over the file in `folder`.
    """
    settings = Settings({**_read_env_file(folder), **os.environ})
    project = _read_env_file(settings.project_dir)
    return Settings({**settings.environment, **project, **os.environ})


def _read_env_file(folder: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(folder / ".env").items()}


def with_driver(url: str) -> str:
    """Return `url` with the psycopg2 driver in its scheme, for SQLAlchemy."""
    return _url(urlsplit(url), scheme="postgresql+psycopg2")


def with_search_path(url: str, schema: str) -> str:
    """Return `url` with libpq `options` that set the search path of its sessions to `schema`."""
    parts = urlsplit(url)
    query = dict(_query(parts))
    query["options"] = f"{query.get('options', '')} -csearch_path={schema}".strip()
    return _url(parts._replace(query=urlencode(query, quote_via=quote)))


def with_database(url: str, database: str) -> str:
    """Return `url` with the database changed to `database`, on the same server."""
    return _url(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


def may_contain_a_password(parts: SplitResult) -> bool:
    """Return whether the host or database in a URL may contain part of the password.

    This happens if a special character in the password is not percent-encoded. A driver would then
    print that part in its errors.
    """
    return parts.netloc.count("@") > 1 or "@" in parts.path or bool(parts.fragment)


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the passwords in `url`, as written and decoded, so that they can be redacted."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    in_query = [value for name, value in _query(parts) if name in ("password", "sslpassword")]
    written = [parts.password or "", *in_query]
    return tuple(dict.fromkeys(form for text in written if text for form in (text, unquote(text))))


def _query(parts: SplitResult) -> list[tuple[str, str]]:
    # In libpq, a '+' is literal; parse_qsl decodes it to a space.
    return parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)


def _url(parts: SplitResult, scheme: str = "postgresql") -> str:
    """Return `parts` as a URL. Unlike `geturl`, it keeps the slashes before an empty authority."""
    return f"{scheme}://{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
