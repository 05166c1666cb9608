"""Who asks: dlt's authentication classes, made of the keys under `auth:` and the environment."""

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
    """What a request to the API's own host is given. `repr` does not show it."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, settings: Settings, base_url: str
    ) -> None:
        self._keys = keys.auth
        # Some servers repeat the path that was asked for.
        self._hidden_path = urlsplit(base_url).path if keys.base_url_env else ""
        self._settings = settings
        self._where = f"dataset {dataset.name}"
        self._auth = self._made(keys.timeout_seconds)

    def give(self, request: PreparedRequest) -> None:
        """Add the credentials to `request`, in place of any that it has, from a .netrc too."""
        self.take(request)
        if self._auth is not None:
            self._auth(request)

    def take(self, request: PreparedRequest) -> None:
        """Take away what a redirect would carry to another host."""
        request.headers.pop("Authorization", None)
        if isinstance(self._keys, ApiKeyAuth) and self._keys.location == "header":
            request.headers.pop(self._keys.name, None)
        elif isinstance(self._keys, ApiKeyAuth):
            request.url = _without(request.url or "", self._keys.name, *self.secrets)

    def renew(self) -> bool:
        """Forget a token that was asked for; return whether there was one."""
        if isinstance(self._auth, _ClientCredentials) and self._auth.access_token is not None:
            self._auth.access_token = None
            return True
        return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, as it is and as it stands in a URL."""
        names = self._keys.secret_settings if self._keys else ()
        found = list(self._settings.secrets_in(names))
        token = getattr(self._auth, "access_token", None)
        found += [token] if token else []
        if isinstance(self._auth, HttpBasicAuth):
            found.append(
                b64encode(f"{self._auth.username}:{self._auth.password}".encode()).decode()
            )
        forms = {form for text in found for form in (text, quote(text, ""), quote_plus(text))}
        return (*forms, self._hidden_path)

    def _made(self, timeout_seconds: float) -> AuthBase | None:
        keys = self._keys
        if isinstance(keys, BearerAuth):
            return BearerTokenAuth(token=self._value(keys.token_env, "the API's token"))
        if isinstance(keys, ApiKeyAuth):
            key = self._value(keys.key_env, "the API's key")
            return APIKeyAuth(name=keys.name, api_key=key, location=keys.location)
        if isinstance(keys, BasicAuth):
            name = self._value(keys.username_env, "the API's user name")
            password = self._value(keys.password_env, "the API's password")
            return HttpBasicAuth(username=name, password=password)
        if isinstance(keys, OAuth2Auth):
            return self._client_credentials(keys, timeout_seconds)
        return None

    def _client_credentials(self, keys: OAuth2Auth, timeout_seconds: float) -> AuthBase:
        session = Session(timeout=timeout_seconds, raise_for_status=False)
        session.max_redirects = 0  # one would carry the secret on
        session.auth = _nothing  # and not what a .netrc says
        return _ClientCredentials(
            access_token_url=keys.token_url,
            client_id=self._value(keys.client_id_env, "the client's id"),
            client_secret=self._value(keys.client_secret_env, "the client's secret"),
            access_token_request_data={"scope": keys.scope} if keys.scope else {},
            session=session,
        )

    def _value(self, name: str, what: str) -> str:
        """Return a setting that can stand in a header. Raises SettingError, without its value."""
        value = self._settings.required(name, f"{what} ({self._where})")
        if not (value.isascii() and value.isprintable()):
            raise SettingError(
                f"{self._where}: {name} holds a character that cannot stand in a request; set it "
                f"to {what}, in printable ASCII"
            )
        return value


class _ClientCredentials(OAuth2ClientCredentials):
    """dlt's, which would take an answer without a token for the token `None`."""

    def parse_access_token(self, response_json: Any) -> str:
        token = response_json.get("access_token") if isinstance(response_json, dict) else None
        if not isinstance(token, str) or not token:
            raise SourceError(f"{self.access_token_url} answered without an access_token")
        return token


def _without(url: str, name: str, *values: str) -> str:
    """Return `url` without a parameter of that name and one of these values; the rest as it is."""
    head, mark, query = url.partition("?")
    keep = [
        part
        for part in query.split("&")
        if unquote_plus(part.partition("=")[0]) != name
        or unquote_plus(part.partition("=")[2]) not in values
    ]
    return f"{head}{mark}{'&'.join(keep)}" if any(keep) else head


def _nothing(request: PreparedRequest) -> PreparedRequest:
    return request
