"""What the environment says of the API: where things are, and who may use it."""

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from sync_pipeline.api.security.tokens import Token, parse_tokens
from sync_pipeline.dagster_client.http import is_loopback
from sync_pipeline.errors import SettingError
from sync_pipeline.settings import (
    API_SECRET,
    API_TOKENS,
    API_TRACKING_URL,
    DAGSTER_PUBLIC_URL,
    DAGSTER_WEBSERVER_URL,
    PAGE_URL,
    Settings,
)

DEFAULT_DAGSTER = "http://127.0.0.1:3000"
_SHORTEST_SECRET = 32
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Config:
    """Everything that `app.create_app` needs. `hosts` are the names that a request may call this
    server by, None for any; `origin` is the page's, as a browser names it, if people open it
    elsewhere than where this server listens."""

    tracking_url: str
    tracking_setting: str
    dagster_webserver_url: str = DEFAULT_DAGSTER
    dagster_public_url: str | None = DEFAULT_DAGSTER
    tokens: tuple[Token, ...] = ()
    secret: bytes = b""
    hosts: frozenset[str] | None = frozenset(_LOOPBACK_NAMES)
    https: bool = False
    origin: str | None = None

    def __repr__(self) -> str:
        return "Config(…)"

    @classmethod
    def of(cls, settings: Settings, host: str) -> "Config":
        """Return what `settings` say, for a server that listens on `host`.

        Raises SettingError if one of them is wrong, or if tokens are missing where others can reach
        it: it listens for them, or people open it by another machine's name, through a proxy.
        """
        given = settings.environment
        tokens = parse_tokens(given.get(API_TOKENS, ""))
        if not tokens and not is_loopback(host):
            raise SettingError(
                f"--host {host} can be reached from elsewhere, so {API_TOKENS} must be set; make "
                "one with: sync-pipeline token NAME operator"
            )
        own = bool(given.get(API_TRACKING_URL, "").strip())
        dagster = _address(settings, DAGSTER_WEBSERVER_URL) or DEFAULT_DAGSTER
        page = _address(settings, PAGE_URL)
        if not tokens and not _is_here(page):
            raise SettingError(
                f"{PAGE_URL} is an address that others open, so {API_TOKENS} must be set, or "
                "everybody there would be an operator; make one with: sync-pipeline token NAME "
                "operator"
            )
        return cls(
            tracking_url=settings.postgres_url(API_TRACKING_URL) if own else settings.tracking_url,
            tracking_setting=API_TRACKING_URL if own else settings.tracking_setting,
            dagster_webserver_url=dagster,
            dagster_public_url=_link(
                _address(settings, DAGSTER_PUBLIC_URL) or dagster,
                opened_elsewhere=not is_loopback(host) or not _is_here(page),
            ),
            tokens=tokens,
            secret=_secret(given.get(API_SECRET, "")),
            hosts=_hosts(host, page) if is_loopback(host) else None,
            https=page is not None and page.startswith("https:"),
            origin=None if page is None else origin_of(page),
        )


def origin_of(address: str) -> str:
    """Return the origin of an address, as a browser writes it: without a port that goes by itself.

    Raises ValueError if it is no address.
    """
    parts = urlsplit(address.strip().lower())
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    by_itself = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, by_itself) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"


def _is_here(page: str | None) -> bool:
    return page is None or is_loopback(urlsplit(page).hostname or "")


def _link(dagster: str, *, opened_elsewhere: bool) -> str | None:
    """Return Dagster's address for browsers; None if it is this machine's and they are not here."""
    leads_nowhere = opened_elsewhere and is_loopback(urlsplit(dagster).hostname or "")
    return None if leads_nowhere else dagster


def _hosts(host: str, page: str | None) -> frozenset[str]:
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    at_page = (urlsplit(page).hostname or "") if page else ""
    return frozenset({*_LOOPBACK_NAMES, named.lower(), at_page} - {""})


def _address(settings: Settings, name: str) -> str | None:
    """Return the http address in a setting, without a slash at its end. Raises SettingError."""
    value = settings.environment.get(name, "").strip().rstrip("/")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  reading it is the check
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError
    except ValueError:
        raise SettingError(
            f"{name} is no address; set it to one such as http://127.0.0.1:3000"
        ) from None
    return value


def _secret(text: str) -> bytes:
    if text and len(text) < _SHORTEST_SECRET:
        raise SettingError(
            f"{API_SECRET} is shorter than {_SHORTEST_SECRET} characters; make one with: "
            "openssl rand -hex 32"
        )
    return text.encode() if text else secrets.token_bytes(32)
