"""Turn request errors into SyncErrors.

Does not use the messages from `requests`, because they contain the whole URL, whose query may
contain a key. Does not classify HTTP statuses: see `http.py`.
"""

import math
import time
from email.utils import parsedate_to_datetime

import requests
import urllib3

from sync_pipeline.config.sources import RestSource
from sync_pipeline.errors import (
    SourceError,
    SourceUnreachableError,
    SyncError,
    TransientSourceError,
    one_line,
)
from sync_pipeline.sources.rest.auth import Credentials


class HttpUnreachableError(SourceUnreachableError, TransientSourceError):
    """The API's host is unreachable; a retry may succeed."""


class RetryLaterError(TransientSourceError):
    """The API is busy. `seconds` is its Retry-After delay, or 0 if it sent none."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


def translate_error(
    error: Exception, where: str, keys: RestSource, credentials: Credentials
) -> Exception:
    """Return the exception to raise for `error`, or `error` itself if it is not a request error.

    The message starts with `where` and contains no secrets.
    """
    if isinstance(error, SyncError):
        return error if str(error).startswith("dataset ") else type(error)(f"{where}{error}")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _token_error(error.response, where)
    if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        return error
    if isinstance(error, requests.exceptions.SSLError):
        return SourceUnreachableError(
            f"{where}cannot establish a TLS connection: {_cause(error, credentials)}"
        )
    if isinstance(error, requests.ConnectTimeout):
        return HttpUnreachableError(f"{where}cannot connect within {keys.timeout_seconds:g} s")
    if _is_connection_error(error):
        return HttpUnreachableError(f"{where}cannot connect: {_cause(error, credentials)}")
    if isinstance(error, requests.Timeout) or _is_read_timeout(error):
        return TransientSourceError(
            f"{where}the server sent no data for timeout_seconds ({keys.timeout_seconds:g})"
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransientSourceError(
            f"{where}the connection was lost before the response was complete"
        )
    if isinstance(error, requests.TooManyRedirects):
        return SourceError(
            f"{where}too many redirects; correct 'base_url', 'path' or 'token_url' in its defs.yaml"
        )
    return SourceError(f"{where}invalid response ({type(error).__name__})")


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


def _token_error(response: requests.Response, where: str) -> SourceError:
    message = f"{where}the token request failed: {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        return TransientSourceError(message)
    return SourceError(f"{message}; check 'auth' in its defs.yaml and the settings it names")


def _urllib3_error(error: Exception) -> BaseException | None:
    """Return the urllib3 exception inside a `requests` exception, or None."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    found = reason if isinstance(reason, BaseException) else inner
    return found if isinstance(found, BaseException) else None


def _is_connection_error(error: Exception) -> bool:
    if isinstance(error, requests.exceptions.ProxyError):
        return True
    return isinstance(_urllib3_error(error), urllib3.exceptions.NewConnectionError)


def _is_read_timeout(error: Exception) -> bool:
    return isinstance(_urllib3_error(error), urllib3.exceptions.ReadTimeoutError)


def _cause(error: Exception, credentials: Credentials) -> str:
    """Return the message from the operating system or OpenSSL, which does not contain the URL."""
    found: BaseException | None = _urllib3_error(error)
    while found is not None and not isinstance(found, OSError):
        found = (
            found.__cause__
            or found.__context__
            or next((arg for arg in found.args if isinstance(arg, BaseException)), None)
        )
    return one_line(found, *credentials.secrets) if found else type(error).__name__
