"""Turn failed requests and error responses into SyncErrors, whose messages contain no secrets."""

import math
import ssl
import time
from email.utils import parsedate_to_datetime

import httpx

from sync_pipeline.errors import (
    SourceError,
    SourceUnreachableError,
    SyncError,
    TransientSourceError,
    one_line,
)

TRANSIENT_STATUSES = {408, 429, *range(500, 600)}


class HttpUnreachableError(SourceUnreachableError, TransientSourceError):
    """The API's host is unreachable; a retry may succeed."""


class RetryLaterError(TransientSourceError):
    """The API is busy. `seconds` is its Retry-After delay, or 0 if it sent none."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


def translate_error(error: Exception, where: str, timeout_seconds: float) -> SyncError | None:
    """Return the error to raise for an exception from httpx, or None for any other exception.

    Its message starts with `where`, and does not contain the URL, whose query may contain a key.
    """
    if isinstance(error, SyncError):
        error.args = (f"{where}{error}",)
        return error
    if isinstance(error, httpx.ConnectTimeout):
        return HttpUnreachableError(f"{where}cannot connect within {timeout_seconds:g} s")
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        cause = _root_cause(error)
        if isinstance(cause, ssl.SSLError):
            text = f"{where}cannot establish a TLS connection: {one_line(cause)}"
            return SourceUnreachableError(text)
        return HttpUnreachableError(f"{where}cannot connect: {one_line(cause)}")
    if isinstance(error, httpx.TimeoutException):
        return TransientSourceError(
            f"{where}the server sent no data for timeout_seconds ({timeout_seconds:g})"
        )
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return TransientSourceError(
            f"{where}the connection was lost before the response was complete"
        )
    if isinstance(error, httpx.TooManyRedirects):
        return SourceError(
            f"{where}too many redirects; correct 'base_url' or 'path' in its defs.yaml"
        )
    if isinstance(error, (httpx.HTTPError, httpx.InvalidURL)):
        return SourceError(f"{where}invalid request or response ({type(error).__name__})")
    return None


def token_error(response: httpx.Response) -> SourceError:
    """Return the error for a response to a token request that does not indicate success."""
    message = f"the token request failed: {response.status_code} {response.reason_phrase}"
    if response.status_code in TRANSIENT_STATUSES:
        return TransientSourceError(message)
    return SourceError(f"{message}; check 'auth' in its defs.yaml and the settings it names")


def retry_after(header: str | None) -> float:
    """Return the seconds to wait according to a Retry-After header; 0 if absent or invalid."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _root_cause(error: BaseException) -> BaseException:
    """Return the error from the operating system or OpenSSL that caused an error from httpx."""
    while True:
        inner = error.__cause__ or next(iter(getattr(error, "exceptions", ())), None)
        if inner is None and not isinstance(error, OSError):
            inner = error.__context__  # httpcore raises its errors `from None`
        if inner is None:
            return error
        error = inner
