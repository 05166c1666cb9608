"""HTTP requests to Dagster and the API. Requests to this machine never use a proxy."""

import ipaddress
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.parse import urlsplit

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address, which only this machine can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_url(request: urllib.request.Request, seconds: float) -> HTTPResponse:
    """Send `request` and return the response; wait at most `seconds` for data.

    Requests to other machines use the proxy set in `http_proxy` and similar variables. Raises
    OSError or HTTPException.
    """
    if is_loopback(urlsplit(request.full_url).hostname or ""):
        opened = _DIRECT.open(request, timeout=seconds)
    else:
        opened = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310  set by the operator
    return cast(HTTPResponse, opened)
