"""The API's configuration, read from the settings: URLs, tokens and accepted host names.

Does not check the tokens in requests: see `security/`.
"""

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
_MIN_SECRET_LENGTH = 32
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Config:
    """The configuration of one server.

    `hosts` are the accepted `Host` names; None accepts any name. `origin` is the page's origin as
    browsers send it, or None if SYNC_PAGE_URL is not set.
    """

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
        """Return the configuration for a server that listens on `host`.

        Raises SettingError if a setting is invalid, or if no tokens are set although other machines
        can reach the server, directly or through a proxy.
        """
        environment = settings.environment
        tokens = parse_tokens(environment.get(API_TOKENS, ""))
        if not tokens and not is_loopback(host):
            raise SettingError(
                f"other machines can reach --host {host}, so {API_TOKENS} must be set; create a "
                "token with: sync-pipeline token NAME operator"
            )
        has_own_url = bool(environment.get(API_TRACKING_URL, "").strip())
        dagster = _address(settings, DAGSTER_WEBSERVER_URL) or DEFAULT_DAGSTER
        page = _address(settings, PAGE_URL)
        if not tokens and not _is_local(page):
            raise SettingError(
                f"other machines can open {PAGE_URL}, so {API_TOKENS} must be set; without "
                "tokens, everyone would be an operator; create a token with: "
                "sync-pipeline token NAME operator"
            )
        return cls(
            tracking_url=(
                settings.postgres_url(API_TRACKING_URL) if has_own_url else settings.tracking_url
            ),
            tracking_setting=API_TRACKING_URL if has_own_url else settings.tracking_setting,
            dagster_webserver_url=dagster,
            dagster_public_url=_public_url(
                _address(settings, DAGSTER_PUBLIC_URL) or dagster,
                opened_elsewhere=not is_loopback(host) or not _is_local(page),
            ),
            tokens=tokens,
            secret=_secret(environment.get(API_SECRET, "")),
            hosts=_hosts(host, page) if is_loopback(host) else None,
            https=page is not None and page.startswith("https:"),
            origin=None if page is None else origin_of(page),
        )


def origin_of(address: str) -> str:
    """Return the origin of a URL as browsers write it, without the scheme's default port.

    Raises ValueError if the URL is invalid.
    """
    parts = urlsplit(address.strip().lower())
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default_port = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, default_port) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"


def _is_local(page: str | None) -> bool:
    return page is None or is_loopback(urlsplit(page).hostname or "")


def _public_url(dagster: str, *, opened_elsewhere: bool) -> str | None:
    """Return Dagster's URL, or None if it is a loopback URL that remote browsers cannot open."""
    is_unreachable = opened_elsewhere and is_loopback(urlsplit(dagster).hostname or "")
    return None if is_unreachable else dagster


def _hosts(host: str, page: str | None) -> frozenset[str]:
    own_name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    page_name = (urlsplit(page).hostname or "") if page else ""
    return frozenset({*_LOOPBACK_NAMES, own_name.lower(), page_name} - {""})


def _address(settings: Settings, name: str) -> str | None:
    """Return the HTTP URL in a setting, without a trailing slash; None if the setting is empty.

    Raises SettingError if it is not a valid URL.
    """
    value = settings.environment.get(name, "").strip().rstrip("/")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  raises ValueError if the port is invalid
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError
    except ValueError:
        raise SettingError(
            f"{name} is not a valid URL; use a URL such as http://127.0.0.1:3000"
        ) from None
    return value


def _secret(text: str) -> bytes:
    if text and len(text) < _MIN_SECRET_LENGTH:
        raise SettingError(
            f"{API_SECRET} is shorter than {_MIN_SECRET_LENGTH} characters; create one with: "
            "openssl rand -hex 32"
        )
    return text.encode() if text else secrets.token_bytes(32)
