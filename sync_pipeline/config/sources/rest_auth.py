"""Keys under `auth:` of `source: {type: rest}`: names of environment variables, never a secret."""

from typing import Annotated, Literal

from pydantic import Field

from sync_pipeline.config.sources.common import EnvironmentName, StrictModel, by_type
from sync_pipeline.config.sources.rest_url import HttpUrl


class BearerAuth(StrictModel):
    """A token in the header `Authorization: Bearer …`."""

    type: Literal["bearer"]
    token_env: EnvironmentName = Field(description="environment variable with the token")

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.token_env,)


class ApiKeyAuth(StrictModel):
    """A key in a header or in the query."""

    type: Literal["api_key"]
    key_env: EnvironmentName = Field(description="environment variable with the key")
    name: str = Field(description="the header's or the parameter's name, such as X-Api-Key")
    location: Literal["header", "query"] = "header"

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.key_env,)


class BasicAuth(StrictModel):
    """HTTP's basic authentication."""

    type: Literal["basic"]
    username_env: EnvironmentName = Field(description="environment variable with the user's name")
    password_env: EnvironmentName = Field(description="environment variable with the password")

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.password_env,)


class OAuth2Auth(StrictModel):
    """OAuth 2's client credentials: a token is asked for, and again when it has run out."""

    type: Literal["oauth2_client_credentials"]
    token_url: HttpUrl = Field(description="where tokens are given")
    client_id_env: EnvironmentName = Field(description="environment variable with the client's id")
    client_secret_env: EnvironmentName = Field(
        description="environment variable with the client's secret"
    )
    scope: str | None = Field(default=None, description="the scope that is asked for")

    @property
    def secret_settings(self) -> tuple[str, ...]:
        return (self.client_secret_env,)


Auth = Annotated[
    BearerAuth | ApiKeyAuth | BasicAuth | OAuth2Auth,
    by_type(BearerAuth, ApiKeyAuth, BasicAuth, OAuth2Auth),
]
