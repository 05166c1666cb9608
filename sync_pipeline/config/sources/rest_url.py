"""The field type for HTTP URLs in a `defs.yaml`, which rejects URLs with secrets."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def http_url(url: str) -> str:
    """Return `url` without a trailing slash.

    Raises ValueError if it is not valid; the message does not contain the URL.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError if it is not valid
    except ValueError:
        raise ValueError("must be a valid URL, such as https://api.example.com/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and contain a host")
    if "@" in parts.netloc + parts.path:  # a password that contains a slash extends into the path
        raise ValueError(
            "must not contain a user name or a password; use 'auth' instead (write an '@' in the "
            "path as %40)"
        )
    if parts.query or parts.fragment:
        raise ValueError("must not contain a query; use 'params' instead")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]
