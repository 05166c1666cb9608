"""Send the `rest` source's requests, with retries, a rate limit and cancellation.

Requests run in an event loop in a separate thread, so that a cancellation ends an unresponsive one
immediately. Credentials are sent only to the API's host, even if a redirect or the next page leads
to another host. Does not find the rows in a response: see `rows.py`.
"""

import logging
import threading
import time
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from contextvars import ContextVar
from datetime import date
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

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
from sync_pipeline.sources.rest.failures import (
    TRANSIENT_STATUSES,
    RetryLaterError,
    retry_after,
    translate_error,
)
from sync_pipeline.sources.rest.json import dump_json, parse_json
from sync_pipeline.sources.rest.pages import Page, PageRequest
from sync_pipeline.sources.unique_keys import DuplicateKeyError

MAX_REDIRECTS = 5
_MAX_EXCERPT_LENGTH = 200


class Transport:
    """Sends the requests of one day at a time. Only `cancel` may be called from another thread."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, base_url: httpx.URL, credentials: Credentials
    ) -> None:
        self._dataset = dataset
        self._keys = keys
        self._base_url = str(base_url)
        self._credentials = credentials
        self._day: date | None = None
        self._sent_requests: set[int] = set()
        self._next_request_at = 0.0
        self._cancelled = threading.Event()
        self._pending: Future[Page] | None = None
        self._client = httpx.AsyncClient(auth=credentials, timeout=keys.timeout_seconds)
        self._resources = ExitStack()
        self._portal = self._resources.enter_context(start_blocking_portal())
        self._resources.callback(self._portal.call, self._client.aclose)

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
            pending.cancel()

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._resources.close()

    def send(self, page: PageRequest) -> Page:
        """Request `page` and return the response with its JSON. Retries after transient errors.

        Raises SourceError or NotReadyError.
        """
        try:
            request = self._build_request(page)
        except httpx.InvalidURL:
            raise SourceError(
                f"{self.where()}a page's URL is invalid; correct 'path' or 'paginator' in its "
                "defs.yaml, or contact the API's provider"
            ) from None
        self._check_not_sent(request)
        self._pending = self._portal.start_task_soon(self._send, request)
        try:
            if self._cancelled.is_set():
                raise CancelledError
            return self._pending.result()
        except CancelledError:
            raise SourceError(f"{self.where()}the read was cancelled") from None
        finally:
            self._pending.cancel()

    def where(self, request: httpx.Request | None = None) -> str:
        """Return the start of an error message: the dataset, the day, and the redacted URL."""
        address = f"{request.method} {self._redact_url(request.url)}: " if request else ""
        return f"dataset {self._dataset.name}: cannot read {self._day}: {address}"

    def _build_request(self, page: PageRequest) -> httpx.Request:
        headers = httpx.Headers({} if page.body is None else {"Content-Type": "application/json"})
        headers.update(httpx.Headers(self._keys.headers, encoding="latin-1"))
        return self._client.build_request(
            self._keys.method,
            page.url,
            params=page.params or None,
            content=None if page.body is None else dump_json(page.body),
            headers=headers,
        )

    def _redact_url(self, url: httpx.URL) -> str:
        """Return `url` without keys and passwords, for messages. A base URL from the environment is
        replaced by the name of its setting."""
        secrets = self._credentials.secrets
        query = [(name, redact(value, *secrets)) for name, value in url.params.multi_items()]
        encoded = urlencode(query, safe="*:/,").encode()
        text = str(url.copy_with(userinfo=b"", query=encoded or None, fragment=None))
        if self._keys.base_url_env and text.startswith(self._base_url):
            text = f"${self._keys.base_url_env}{text[len(self._base_url) :]}"
        return redact(text, *secrets)

    def _check_not_sent(self, request: httpx.Request) -> None:
        identity = hash((request.method, str(request.url), request.content))
        if identity in self._sent_requests:
            raise SourceError(
                f"{self.where(request)}this page was already read, so the pages form a loop; "
                "correct 'paginator' in its defs.yaml, or contact the API's provider"
            )
        self._sent_requests.add(identity)

    async def _send(self, request: httpx.Request) -> Page:
        where = self.where(request)  # before the credentials are added to the URL
        policy = Retry(
            max_attempts=self._keys.max_attempts,
            initial_backoff_seconds=self._dataset.retry.initial_backoff_seconds,
        )
        for backoff in backoffs(policy):
            try:
                return await self._send_once(request, where)
            except TransientSourceError as error:
                delay = max(backoff, error.seconds if isinstance(error, RetryLaterError) else 0.0)
            await anyio.sleep(delay)
        return await self._send_once(request, where)

    async def _send_once(self, request: httpx.Request, where: str) -> Page:
        await self._wait_for_rate_limit()
        try:
            response, body = await self._exchange(request)
            self._check_status(response, body)
            return Page(response, self._parse(response, body))
        except Exception as error:
            translated = translate_error(error, where, self._keys.timeout_seconds)
            if translated is None:
                raise
            raise translated from None

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send `request`, follow its redirects, and read the response."""
        _is_sending.set(True)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._client.send(request, stream=True)
            try:
                if response.next_request is None or request.method != "GET":
                    return response, await self._read_body(response)
                request = response.next_request
            finally:
                await response.aclose()
        raise httpx.TooManyRedirects("")

    async def _read_body(self, response: httpx.Response) -> bytes:
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._keys.max_page_megabytes * 1_000_000:
                raise SourceError(
                    "the response is larger than max_page_megabytes "
                    f"({self._keys.max_page_megabytes}); request smaller pages"
                )
        return b"".join(chunks)

    def _check_status(self, response: httpx.Response, body: bytes) -> None:
        """Raise an error if the status does not indicate success."""
        status = response.status_code
        if status in self._keys.not_ready_statuses:
            raise NotReadyError(
                f"{status} {response.reason_phrase}: the source does not have the day yet"
            )
        if status in TRANSIENT_STATUSES:
            raise self._busy_error(response, body)
        if not response.is_success:
            raise SourceError(self._describe_rejection(response, body))

    def _parse(self, response: httpx.Response, body: bytes) -> Any:
        try:
            return parse_json(body)
        except DuplicateKeyError as error:
            raise SourceError(f"the response is ambiguous: {error}") from None
        except ValueError:
            content_type = response.headers.get("Content-Type", "no content type")
            raise SourceError(
                f"the response ({content_type}) is not JSON: {self._excerpt(body)}"
            ) from None

    def _busy_error(self, response: httpx.Response, body: bytes) -> SourceError:
        message = f"{response.status_code} {response.reason_phrase}"
        seconds = retry_after(response.headers.get("Retry-After"))
        longest = self._keys.max_backoff_seconds
        if seconds > longest:
            return SourceUnreachableError(
                f"{message}: the server asks to retry after {seconds:.0f} s, which is longer than "
                f"max_backoff_seconds ({longest:.0f})"
            )
        return RetryLaterError(f"{message} {self._excerpt(body)}".rstrip(), seconds)

    def _describe_rejection(self, response: httpx.Response, body: bytes) -> str:
        status, request = response.status_code, response.request
        message = f"{status} {response.reason_phrase} {self._excerpt(body)}".rstrip()
        if response.next_request is not None:
            return (
                f"{status}: the {request.method} was redirected to "
                f"{self._redact_url(response.next_request.url)}; correct 'base_url' or 'path'"
            )
        if status in (401, 403):
            if not self._credentials.is_api_host(request.url):
                return f"{message}; 'auth' is sent only to the host in the base URL"
            return f"{message}; check 'auth' in its defs.yaml and the settings it names"
        return f"{message}; check 'path', 'params' and 'body' in its defs.yaml"

    def _excerpt(self, body: bytes) -> str:
        text = " ".join(body[: 8 * _MAX_EXCERPT_LENGTH].decode("utf-8", "replace").split())
        text = redact(text, *self._credentials.secrets)
        return text if len(text) <= _MAX_EXCERPT_LENGTH else f"{text[:_MAX_EXCERPT_LENGTH]}…"

    async def _wait_for_rate_limit(self) -> None:
        if self._keys.requests_per_second:
            await anyio.sleep(max(0.0, self._next_request_at - time.monotonic()))
            self._next_request_at = time.monotonic() + 1 / self._keys.requests_per_second


# The requests' log records are dropped, because a URL may contain a key.
_is_sending: ContextVar[bool] = ContextVar("is_sending", default=False)
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(lambda _: not _is_sending.get())
