"""The keys under `auth:` in `source: {type: rest}`.

Secrets are given as names of environment variables, never as values.
"""

from typing import Annotated, Literal

from pydantic import Field

from sync_pipeline.config.sources.rest_url import HttpUrl
from sync_pipeline.config.sources.strict_model import EnvironmentName, StrictModel, by_type


class BearerAuth(StrictModel):
    """A token in the header `Authorization: Bearer …`."""

    type: Literal["bearer"] = Field(description="the type of authentication")
    token_env: EnvironmentName = Field(description="environment variable that contains the token")

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.token_env,)


class ApiKeyAuth(StrictModel):
    """An API key in a header or in the query."""

    type: Literal["api_key"] = Field(description="the type of authentication")
    key_env: EnvironmentName = Field(description="environment variable that contains the key")
    name: str = Field(description="name of the header or the query parameter, such as `X-Api-Key`")
    location: Literal["header", "query"] = Field(
        default="header", description="where the key is sent: `header` or `query`"
    )

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.key_env,)


class BasicAuth(StrictModel):
    """HTTP basic authentication."""

    type: Literal["basic"] = Field(description="the type of authentication")
    username_env: EnvironmentName = Field(
        description="environment variable that contains the user name"
    )
    password_env: EnvironmentName = Field(
        description="environment variable that contains the password"
    )

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.password_env,)


class OAuth2Auth(StrictModel):
    """OAuth 2 client credentials: a token is requested, and renewed when it expires."""

    type: Literal["oauth2_client_credentials"] = Field(description="the type of authentication")
    token_url: HttpUrl = Field(description="URL of the token endpoint")
    client_id_env: EnvironmentName = Field(
        description="environment variable that contains the client ID"
    )
    client_secret_env: EnvironmentName = Field(
        description="environment variable that contains the client secret"
    )
    scope: str | None = Field(default=None, description="scope to request")

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.client_secret_env,)


Auth = Annotated[
    BearerAuth | ApiKeyAuth | BasicAuth | OAuth2Auth,
    by_type(BearerAuth, ApiKeyAuth, BasicAuth, OAuth2Auth),
]
