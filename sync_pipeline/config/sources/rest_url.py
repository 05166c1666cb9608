"""Addresses that may stand in a `defs.yaml`: of HTTP, and without a secret."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def http_url(url: str) -> str:
    """Return `url` without a slash at its end. Raises ValueError, which does not show it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  reading it is the check
    except ValueError:
        raise ValueError("must be a valid URL, such as https://api.example.com/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and name a host")
    if "@" in parts.netloc + parts.path:  # in the path, it may follow half a password
        raise ValueError(
            "must not hold a user name or a password; give them as 'auth' (an '@' of the path "
            "itself is written %40)"
        )
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query; give it as 'params'")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]
