"""What went wrong with a request, as an error of ours.

The text of an error of `requests` holds the whole address, with a key in its query: it is not used.
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
    """The API's host cannot be connected to; another try may help."""


class ComeBackLaterError(TransientSourceError):
    """The API is busy; `seconds` is what it asks to wait, 0 if it does not say."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


def failure(error: Exception, where: str, keys: RestSource, credentials: Credentials) -> Exception:
    """Return what to raise for `error`; itself if it is no error of a request.

    `where` begins the text, without secrets.
    """
    if isinstance(error, SyncError):
        return error if str(error).startswith("dataset ") else type(error)(f"{where}{error}")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _no_token(error.response, where)
    if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        return error
    if isinstance(error, requests.exceptions.SSLError):
        return SourceUnreachableError(f"{where}no secure connection: {_cause(error, credentials)}")
    if isinstance(error, requests.ConnectTimeout):
        return HttpUnreachableError(f"{where}cannot connect within {keys.timeout_seconds:g} s")
    if _is_no_connection(error):
        return HttpUnreachableError(f"{where}cannot connect: {_cause(error, credentials)}")
    if isinstance(error, requests.Timeout) or _is_silence(error):
        return TransientSourceError(
            f"{where}the server was silent for timeout_seconds ({keys.timeout_seconds:g})"
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransientSourceError(f"{where}the connection broke off before the answer was whole")
    if isinstance(error, requests.TooManyRedirects):
        return SourceError(f"{where}redirected too often; correct 'base_url', 'path' or token_url")
    return SourceError(f"{where}no usable answer ({type(error).__name__})")


def retry_after(header: str | None) -> float:
    """Return the seconds that a Retry-After asks for, as a number or a date; 0 for none."""
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


def _no_token(response: requests.Response, where: str) -> SourceError:
    said = f"{where}no token was given: {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        return TransientSourceError(said)
    return SourceError(f"{said}; check 'auth' in its defs.yaml and the settings that it names")


def _inner(error: Exception) -> BaseException | None:
    """Return what urllib3 raised."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    found = reason if isinstance(reason, BaseException) else inner
    return found if isinstance(found, BaseException) else None


def _is_no_connection(error: Exception) -> bool:
    if isinstance(error, requests.exceptions.ProxyError):
        return True
    return isinstance(_inner(error), urllib3.exceptions.NewConnectionError)


def _is_silence(error: Exception) -> bool:
    return isinstance(_inner(error), urllib3.exceptions.ReadTimeoutError)


def _cause(error: Exception, credentials: Credentials) -> str:
    """Return what the operating system or OpenSSL said, which knows nothing of the address."""
    found: BaseException | None = _inner(error)
    while found is not None and not isinstance(found, OSError):
        found = (
            found.__cause__
            or found.__context__
            or next((arg for arg in found.args if isinstance(arg, BaseException)), None)
        )
    return one_line(found, *credentials.secrets) if found else type(error).__name__
