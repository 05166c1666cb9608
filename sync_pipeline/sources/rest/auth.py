"""Build request authentication from the `auth:` keys and the settings that they name.

Uses dlt's authentication classes. Sends only the requests for OAuth2 tokens: for others, see
`http.py`.
"""

from base64 import b64encode
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus, urlsplit

from dlt.sources.helpers.requests import Session
from dlt.sources.helpers.rest_client.auth import (
    APIKeyAuth,
    BearerTokenAuth,
    HttpBasicAuth,
    OAuth2ClientCredentials,
)
from requests import PreparedRequest
from requests.auth import AuthBase

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.rest_auth import ApiKeyAuth, BasicAuth, BearerAuth, OAuth2Auth
from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings


class Credentials:
    """The credentials for requests to the API's host. Its `repr` does not show them."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, settings: Settings, base_url: str
    ) -> None:
        self._keys = keys.auth
        # Redacted, because some servers repeat the requested path in their response.
        self._secret_path = urlsplit(base_url).path if keys.base_url_env else ""
        self._settings = settings
        self._where = f"dataset {dataset.name}"
        self._auth = self._make_auth(keys.timeout_seconds)

    def apply(self, request: PreparedRequest) -> None:
        """Add the credentials to `request`. Replaces any others, even those from .netrc."""
        self.remove(request)
        if self._auth is not None:
            self._auth(request)

    def remove(self, request: PreparedRequest) -> None:
        """Remove the credentials from `request`, for example before a redirect to another host."""
        request.headers.pop("Authorization", None)
        if isinstance(self._keys, ApiKeyAuth) and self._keys.location == "header":
            request.headers.pop(self._keys.name, None)
        elif isinstance(self._keys, ApiKeyAuth):
            request.url = _remove_param(request.url or "", self._keys.name, *self.secrets)

    def invalidate_token(self) -> bool:
        """Discard the OAuth2 access token, and return whether there was one."""
        if isinstance(self._auth, _ClientCredentials) and self._auth.access_token is not None:
            self._auth.access_token = None
            return True
        return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values to redact in messages, both plain and URL-encoded."""
        names = self._keys.secret_settings if self._keys else ()
        found = list(self._settings.secrets_in(names))
        token = getattr(self._auth, "access_token", None)
        found += [token] if token else []
        if isinstance(self._auth, HttpBasicAuth):
            found.append(
                b64encode(f"{self._auth.username}:{self._auth.password}".encode()).decode()
            )
        forms = {form for text in found for form in (text, quote(text, ""), quote_plus(text))}
        return (*forms, self._secret_path)

    def _make_auth(self, timeout_seconds: float) -> AuthBase | None:
        keys = self._keys
        if isinstance(keys, BearerAuth):
            return BearerTokenAuth(token=self._required(keys.token_env, "the API token"))
        if isinstance(keys, ApiKeyAuth):
            key = self._required(keys.key_env, "the API key")
            return APIKeyAuth(name=keys.name, api_key=key, location=keys.location)
        if isinstance(keys, BasicAuth):
            name = self._required(keys.username_env, "the API user name")
            password = self._required(keys.password_env, "the API password")
            return HttpBasicAuth(username=name, password=password)
        if isinstance(keys, OAuth2Auth):
            return self._client_credentials(keys, timeout_seconds)
        return None

    def _client_credentials(self, keys: OAuth2Auth, timeout_seconds: float) -> AuthBase:
        session = Session(timeout=timeout_seconds, raise_for_status=False)
        session.max_redirects = 0  # a redirect would send the secret to another URL
        session.auth = _no_auth  # otherwise the session would use a .netrc file
        return _ClientCredentials(
            access_token_url=keys.token_url,
            client_id=self._required(keys.client_id_env, "the OAuth2 client ID"),
            client_secret=self._required(keys.client_secret_env, "the OAuth2 client secret"),
            access_token_request_data={"scope": keys.scope} if keys.scope else {},
            session=session,
        )

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


class _ClientCredentials(OAuth2ClientCredentials):
    """dlt's OAuth2 client credentials, but with an error for a response without a token."""

    def parse_access_token(self, response_json: Any) -> str:
        token = response_json.get("access_token") if isinstance(response_json, dict) else None
        if not isinstance(token, str) or not token:
            raise SourceError(f"the response from {self.access_token_url} has no access_token")
        return token


def _remove_param(url: str, name: str, *values: str) -> str:
    """Return `url` without the query parameters that have this name and one of these values."""
    head, mark, query = url.partition("?")
    keep = [
        part
        for part in query.split("&")
        if unquote_plus(part.partition("=")[0]) != name
        or unquote_plus(part.partition("=")[2]) not in values
    ]
    return f"{head}{mark}{'&'.join(keep)}" if any(keep) else head


def _no_auth(request: PreparedRequest) -> PreparedRequest:
    return request
