"""Authenticate requests as the `auth:` keys and the settings that they name require.

Requests OAuth2 tokens through the client that sends the authenticated request. Does not send any
other request: see `http.py`.
"""

import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator
from urllib.parse import quote, quote_plus, unquote_plus, urlencode

import httpx

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.rest_auth import ApiKeyAuth, BasicAuth, BearerAuth, OAuth2Auth
from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.rest.failures import token_error

_DEFAULT_TOKEN_SECONDS = 3600.0


class Credentials(httpx.Auth):
    """The credentials for requests to the API's host. Its `repr` does not show them."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, settings: Settings, base_url: httpx.URL
    ) -> None:
        self._keys = keys.auth
        self._base_url = base_url
        # Redacted, because some servers repeat the requested path in their response.
        paths = (base_url.path, base_url.raw_path.decode()) if keys.base_url_env else ()
        self._secret_paths = tuple(path.rstrip("/") for path in paths)
        self._settings = settings
        self._where = f"dataset {dataset.name}"
        self._headers: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._token_request: dict[str, str] = {}
        self._token_expires_at = 0.0
        self._read_settings()

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send `request` to the API's host with the credentials, or to another host without them.

        Sends it once more if the API rejects an OAuth2 token. Raises SourceError if the token
        request fails.
        """
        self._remove_from(request)
        if not self.is_api_host(request.url):
            yield request
            return
        for _ in range(2):
            if isinstance(self._keys, OAuth2Auth) and time.monotonic() >= self._token_expires_at:
                # Without the extensions, the request would have no timeout.
                response = yield httpx.Request(
                    "POST",
                    self._keys.token_url,
                    data=self._token_request,
                    extensions=request.extensions,
                )
                await response.aread()
                self._save_token(response)
            self._add_to(request)
            response = yield request
            if response.status_code != 401 or not self._token_request:
                return
            self._token_expires_at = 0.0

    def is_api_host(self, url: httpx.URL) -> bool:
        """Return whether `url` has the scheme, host and port of the base URL."""
        base = self._base_url  # a URL's port is None if it is the scheme's default port
        return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values to redact in messages, both plain and URL-encoded."""
        found = list(self._settings.secrets_in(self._keys.secret_settings if self._keys else ()))
        if not isinstance(self._keys, ApiKeyAuth):  # a token, or a name and password in Base64
            found += [value.partition(" ")[2] for value in self._headers.values()]
        forms = {form for text in found for form in (text, quote(text, ""), quote_plus(text))}
        return (*forms, *self._secret_paths)

    def _read_settings(self) -> None:
        keys = self._keys
        if isinstance(keys, BearerAuth):
            self._headers["Authorization"] = (
                f"Bearer {self._required(keys.token_env, 'the API token')}"
            )
        elif isinstance(keys, ApiKeyAuth):
            place = self._headers if keys.location == "header" else self._params
            place[keys.name] = self._required(keys.key_env, "the API key")
        elif isinstance(keys, BasicAuth):
            name = self._required(keys.username_env, "the API user name")
            password = self._required(keys.password_env, "the API password")
            encoded = b64encode(f"{name}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
        elif isinstance(keys, OAuth2Auth):
            self._token_request = {
                "client_id": self._required(keys.client_id_env, "the OAuth2 client ID"),
                "client_secret": self._required(keys.client_secret_env, "the OAuth2 client secret"),
                "grant_type": "client_credentials",
            } | ({"scope": keys.scope} if keys.scope else {})

    def _required(self, name: str, what: str) -> str:
        """Return a setting. Raises SettingError if it is missing or not allowed in a header.

        The error does not show the value.
        """
        value = self._settings.require(name, f"{what} ({self._where})")
        if not (value.isascii() and value.isprintable()):
            raise SettingError(
                f"{self._where}: {name} contains a character that is not allowed in a request; "
                f"set it to {what}, in printable ASCII"
            )
        return value

    def _save_token(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise token_error(response)
        try:
            document = json.loads(response.content)
            token, seconds = document["access_token"], document.get("expires_in")
            self._token_expires_at = time.monotonic() + float(seconds or _DEFAULT_TOKEN_SECONDS)
        except (ValueError, TypeError, LookupError):
            token = None
        if not isinstance(token, str) or not token:
            raise SourceError(f"the response from {response.url} has no access_token")
        self._headers["Authorization"] = f"Bearer {token}"

    def _add_to(self, request: httpx.Request) -> None:
        request.headers.update(self._headers)
        if self._params:
            query = "&".join(filter(None, [request.url.query.decode(), urlencode(self._params)]))
            request.url = request.url.copy_with(query=query.encode())

    def _remove_from(self, request: httpx.Request) -> None:
        """Remove credentials that a redirect or a link to the next page repeats."""
        for name in ("Authorization", *self._headers):
            request.headers.pop(name, None)
        for name in self._params:
            query = _remove_param(request.url.query.decode(), name, *self.secrets)
            request.url = request.url.copy_with(query=query.encode() or None)


def _remove_param(query: str, name: str, *values: str) -> str:
    """Return `query` without the parameters that have this name and one of these values."""
    return "&".join(
        part
        for part in query.split("&")
        if unquote_plus(part.partition("=")[0]) != name
        or unquote_plus(part.partition("=")[2]) not in values
    )
