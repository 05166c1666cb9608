"""HTTP to our own servers: on this machine never through a proxy that the environment names."""

import ipaddress
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.parse import urlsplit

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_url(request: urllib.request.Request, seconds: float) -> HTTPResponse:
    """Return the answer to `request`, within `seconds`. Raises OSError, HTTPException.

    Elsewhere than on this machine `http_proxy` and its like have their say.
    """
    if is_loopback(urlsplit(request.full_url).hostname or ""):
        opened = _DIRECT.open(request, timeout=seconds)
    else:
        opened = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310  http, by setting
    return cast(HTTPResponse, opened)
