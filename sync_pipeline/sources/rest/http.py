"""Send the `rest` source's requests, with retries, a rate limit and cancellation.

`Transport` is the session that dlt's client uses. Each request runs in a separate thread, so that a
cancellation does not wait for an unresponsive server; the thread ends if the server sends
no data for `timeout_seconds`. Credentials are sent only to the API's host, even if a redirect or
the next page leads to another host. Does not find the rows in a response: see `rows.py`.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from requests import PreparedRequest

from sync_pipeline.config.dataset import Dataset, Retry
from sync_pipeline.config.sources import RestSource
from sync_pipeline.errors import (
    NotReadyError,
    SourceError,
    SourceUnreachableError,
    TransientSourceError,
    redact,
)
from sync_pipeline.retry import backoffs
from sync_pipeline.sources.rest.auth import Credentials
from sync_pipeline.sources.rest.failures import RetryLaterError, retry_after, translate_error
from sync_pipeline.sources.rest.json import parse_json

MAX_REDIRECTS = 5
_CHUNK_BYTES = 64 * 1024
_TRANSIENT_STATUSES = {408, 429, *range(500, 600)}
_MAX_EXCERPT_LENGTH = 200


class JsonResponse(requests.Response):
    """A response whose whole body has been read. `document` is its JSON, with exact numbers."""

    body: bytes
    document: Any

    @classmethod
    def from_response(cls, response: requests.Response, body: bytes) -> "JsonResponse":
        copy = cls()
        copy.__dict__.update(response.__dict__)
        copy.body = body
        return copy

    def json(self, **_: Any) -> Any:
        return self.document

    def release(self) -> None:
        """Free the body's memory, because dlt keeps each response until it has the next one."""
        self.body, self.document = b"", None


class Transport(requests.Session):
    """A session that reads one day at a time. Only `cancel` may be called from another thread."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, base_url: str, credentials: Credentials
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._keys = keys
        self._base_url = base_url
        self._credentials = credentials
        self._day: date | None = None
        self._sent_requests: set[int] = set()
        self._next_request_at = 0.0
        self._cancelled = threading.Event()
        self._pending: Future[JsonResponse] | None = None

    def start_day(self, day: date) -> None:
        """Start reading `day`."""
        self._day = day
        self._sent_requests.clear()
        self._cancelled.clear()

    def cancel(self) -> None:
        """Make a `send` in another thread raise SourceError immediately."""
        self._cancelled.set()
        pending = self._pending
        if pending is not None:
            with suppress(InvalidStateError):
                pending.set_exception(self._cancelled_error())

    def send(self, request: PreparedRequest, **kwargs: Any) -> JsonResponse:
        """Send `request` and return the response with its JSON. Retries after transient errors.

        Raises SourceError or NotReadyError.
        """
        self._check_not_sent(request)
        policy = Retry(max_attempts=self._keys.max_attempts, **self._initial_backoff())
        remaining = list(backoffs(policy))
        while True:
            try:
                return self._send_once(request, kwargs)
            except TransientSourceError as error:
                if not remaining:
                    raise
                server_delay = error.seconds if isinstance(error, RetryLaterError) else 0.0
            self._pause(max(remaining.pop(0), server_delay))

    def where(self, request: PreparedRequest | None = None) -> str:
        """Return the start of an error message: the dataset, the day, and the redacted URL."""
        address = f"{request.method} {self.redact_url(request.url or '')}: " if request else ""
        return f"dataset {self._dataset.name}: cannot read {self._day}: {address}"

    def redact_url(self, url: str) -> str:
        """Return `url` without keys and passwords, for messages. A base URL from the environment is
        replaced by the name of its setting."""
        parts = urlsplit(url)
        secrets = self._credentials.secrets
        query = [
            (name, redact(value, *secrets))
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        host = parts.netloc.rpartition("@")[2]
        text = parts._replace(
            netloc=host, query=urlencode(query, safe="*:/,"), fragment=""
        ).geturl()
        if self._keys.base_url_env and text.startswith(self._base_url):
            text = f"${self._keys.base_url_env}{text[len(self._base_url) :]}"
        return redact(text, *secrets)

    def _initial_backoff(self) -> dict[str, float]:
        return {"initial_backoff_seconds": self._dataset.retry.initial_backoff_seconds}

    def _check_not_sent(self, request: PreparedRequest) -> None:
        identity = hash((request.method, request.url, request.body))
        if identity in self._sent_requests:
            raise SourceError(
                f"{self.where(request)}this page was already read, so the pages form a loop; "
                "correct 'paginator' in its defs.yaml, or contact the API's provider"
            )
        self._sent_requests.add(identity)

    def _send_once(self, request: PreparedRequest, kwargs: dict[str, Any]) -> JsonResponse:
        """Send `request` once. Errors are raised without their `__cause__`, which might reveal a
        secret."""
        self._wait_for_rate_limit()
        failed: Exception
        try:
            response = self._run_in_thread(lambda: self._exchange(request, kwargs))
        except Exception as error:
            failed = translate_error(error, self.where(request), self._keys, self._credentials)
        else:
            return self._parse_response(request, response)
        raise failed

    def _run_in_thread(self, work: Callable[[], JsonResponse]) -> JsonResponse:
        """Run `work` in a new thread and return its result; stop waiting when cancelled."""
        future: Future[JsonResponse] = Future()
        self._pending = future
        if self._cancelled.is_set():
            raise self._cancelled_error()
        _RequestThread(target=_run, args=(work, future), daemon=True, name="request").start()
        try:
            return future.result()
        finally:
            self._pending = None

    def _exchange(self, request: PreparedRequest, kwargs: dict[str, Any]) -> JsonResponse:
        """Send `request`, follow its redirects, and read the response."""
        kwargs |= {"stream": True, "allow_redirects": False, "timeout": self._keys.timeout_seconds}
        next_request, retried = request.copy(), False
        for _ in range(MAX_REDIRECTS + 1):
            if self._is_api_host(next_request.url or ""):
                self._credentials.apply(next_request)
            else:
                self._credentials.remove(next_request)
            with super().send(next_request, **kwargs) as response:
                unauthorized = response.status_code == 401
                if unauthorized and not retried and self._credentials.invalidate_token():
                    retried = True
                elif response.is_redirect and response.next and request.method == "GET":
                    next_request = response.next
                else:
                    return JsonResponse.from_response(response, self._read_body(response))
        raise requests.TooManyRedirects

    def _read_body(self, response: requests.Response) -> bytes:
        chunks, size = [], 0
        for chunk in response.iter_content(_CHUNK_BYTES):
            if self._cancelled.is_set():
                raise self._cancelled_error()
            chunks.append(chunk)
            size += len(chunk)
            if size > self._keys.max_page_megabytes * 1_000_000:
                raise SourceError(
                    f"{self.where()}{self.redact_url(response.url)}: the response is larger than "
                    f"max_page_megabytes ({self._keys.max_page_megabytes}); request smaller pages"
                )
        return b"".join(chunks)

    def _parse_response(self, request: PreparedRequest, response: JsonResponse) -> JsonResponse:
        """Return `response` with its JSON parsed. Raises an error if the status does not indicate
        success or the body is not JSON."""
        where, status = self.where(request), response.status_code
        if status in self._keys.not_ready_statuses:
            raise NotReadyError(
                f"{where}{status} {response.reason}: the source does not have the day yet"
            )
        if status in _TRANSIENT_STATUSES:
            raise self._busy_error(where, response)
        if not 200 <= status < 300:
            raise SourceError(f"{where}{self._describe_rejection(request, response)}")
        try:
            response.document = parse_json(response.body)
        except ValueError:
            content_type = response.headers.get("Content-Type", "no content type")
            excerpt = self._excerpt(response)
            text = f"{where}the response ({content_type}) is not JSON: {excerpt}"
        else:
            return response
        raise SourceError(text)

    def _busy_error(self, where: str, response: JsonResponse) -> SourceError:
        message = f"{response.status_code} {response.reason}"
        seconds = retry_after(response.headers.get("Retry-After"))
        longest = self._keys.max_backoff_seconds
        if seconds > longest:
            return SourceUnreachableError(
                f"{where}{message}: the server asks to retry after {seconds:.0f} s, which is "
                f"longer than max_backoff_seconds ({longest:.0f})"
            )
        return RetryLaterError(f"{where}{message} {self._excerpt(response)}".rstrip(), seconds)

    def _describe_rejection(self, request: PreparedRequest, response: JsonResponse) -> str:
        message = f"{response.status_code} {response.reason} {self._excerpt(response)}".rstrip()
        if response.is_redirect:
            return (
                f"{response.status_code}: the {request.method} was redirected to "
                f"{self.redact_url(response.headers['Location'])}; correct 'base_url' or 'path'"
            )
        if response.status_code in (401, 403):
            if not self._is_api_host(response.url):
                return f"{message}; 'auth' is sent only to the host in the base URL"
            return f"{message}; check 'auth' in its defs.yaml and the settings it names"
        return f"{message}; check 'path', 'params' and 'body' in its defs.yaml"

    def _excerpt(self, response: JsonResponse) -> str:
        text = " ".join(response.body[: 8 * _MAX_EXCERPT_LENGTH].decode("utf-8", "replace").split())
        text = redact(text, *self._credentials.secrets)
        return text if len(text) <= _MAX_EXCERPT_LENGTH else f"{text[:_MAX_EXCERPT_LENGTH]}…"

    def _is_api_host(self, url: str) -> bool:
        return _origin(url) == _origin(self._base_url)

    def _wait_for_rate_limit(self) -> None:
        if self._keys.requests_per_second:
            self._pause(self._next_request_at - time.monotonic())
            self._next_request_at = time.monotonic() + 1 / self._keys.requests_per_second

    def _pause(self, seconds: float) -> None:
        if self._cancelled.wait(max(0.0, seconds)):
            raise self._cancelled_error()

    def _cancelled_error(self) -> SourceError:
        return SourceError(f"{self.where()}the read was cancelled")


class _RequestThread(threading.Thread):
    """A thread whose requests urllib3 does not log, because a query may contain a key."""

    @classmethod
    def is_not_current(cls, _: logging.LogRecord) -> bool:
        return not isinstance(threading.current_thread(), cls)


logging.getLogger("urllib3.connectionpool").addFilter(_RequestThread.is_not_current)


def _run(work: Callable[[], JsonResponse], future: "Future[JsonResponse]") -> None:
    try:
        response = work()
    except BaseException as error:
        with suppress(InvalidStateError):  # `cancel` has already set an exception
            future.set_exception(error)
    else:
        with suppress(InvalidStateError):
            future.set_result(response)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
