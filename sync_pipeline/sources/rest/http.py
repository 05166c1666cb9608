"""Requests of the `rest` source: tried again, paced, cancelled, their answers read whole.

A session that dlt's client sends its requests through. Each request runs in a thread of its own,
so that a cancellation need not wait for a server that is silent; such a thread ends by itself,
after `timeout_seconds` at the latest. Credentials go to the API's own host only, wherever a
redirect or the address of a next page leads.
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
from sync_pipeline.retry import pauses
from sync_pipeline.sources.rest.auth import Credentials
from sync_pipeline.sources.rest.failures import ComeBackLaterError, failure, retry_after
from sync_pipeline.sources.rest.json import parsed

MAX_REDIRECTS = 5
_CHUNK_BYTES = 64 * 1024
_TRANSIENT_STATUSES = {408, 429, *range(500, 600)}
_SHOWN_OF_A_BODY = 200


class Answer(requests.Response):
    """A response that was read whole; `document` is its JSON, with numbers as they were written."""

    body: bytes
    document: Any

    @classmethod
    def of(cls, response: requests.Response, body: bytes) -> "Answer":
        answer = cls()
        answer.__dict__.update(response.__dict__)
        answer.body = body
        return answer

    def json(self, **_: Any) -> Any:
        return self.document

    def forget(self) -> None:
        """Give its memory back, for dlt holds an answer until it has the next."""
        self.body, self.document = b"", None


class Transport(requests.Session):
    """See the module. One thread sends; another may `cancel`."""

    def __init__(
        self, dataset: Dataset, keys: RestSource, base_url: str, credentials: Credentials
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._keys = keys
        self._base_url = base_url
        self._credentials = credentials
        self._day: date | None = None
        self._asked: set[int] = set()
        self._next_turn = 0.0
        self._cancelled = threading.Event()
        self._waiting: Future[Answer] | None = None

    def begin(self, day: date) -> None:
        """Begin to read `day`."""
        self._day = day
        self._asked.clear()
        self._cancelled.clear()

    def cancel(self) -> None:
        """Let a `send` in another thread raise SourceError at once."""
        self._cancelled.set()
        waiting = self._waiting
        if waiting is not None:
            with suppress(InvalidStateError):
                waiting.set_exception(self._broken_off())

    def send(self, request: PreparedRequest, **kwargs: Any) -> Answer:
        """Return the answer to `request`, with its JSON. Raises SourceError or NotReadyError."""
        self._refuse_again(request)
        growing = list(pauses(Retry(max_attempts=self._keys.max_attempts, **self._first_pause())))
        while True:
            try:
                return self._tried(request, kwargs)
            except TransientSourceError as error:
                if not growing:
                    raise
                asked = error.seconds if isinstance(error, ComeBackLaterError) else 0.0
            self._pause(max(growing.pop(0), asked))

    def where(self, request: PreparedRequest | None = None) -> str:
        """Return what an error begins with: dataset, day, and the address without secrets."""
        address = f"{request.method} {self.shown(request.url or '')}: " if request else ""
        return f"dataset {self._dataset.name}: cannot read {self._day}: {address}"

    def shown(self, url: str) -> str:
        """Return `url` for people: no key, no password, and no address out of the environment."""
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

    def _first_pause(self) -> dict[str, float]:
        return {"initial_backoff_seconds": self._dataset.retry.initial_backoff_seconds}

    def _refuse_again(self, request: PreparedRequest) -> None:
        asked = hash((request.method, request.url, request.body))
        if asked in self._asked:
            raise SourceError(
                f"{self.where(request)}this page was read before: the paginator leads in a circle; "
                "correct 'paginator' in its defs.yaml, or ask whoever runs the API"
            )
        self._asked.add(asked)

    def _tried(self, request: PreparedRequest, kwargs: dict[str, Any]) -> Answer:
        """Return the answer to one try. Its errors carry no other, which might show a secret."""
        self._wait_for_turn()
        failed: Exception
        try:
            answer = self._beside(lambda: self._exchanged(request, kwargs))
        except Exception as error:
            failed = failure(error, self.where(request), self._keys, self._credentials)
        else:
            return self._accepted(request, answer)
        raise failed

    def _beside(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns in a thread of its own, unless cancelled before."""
        future: Future[Answer] = Future()
        self._waiting = future
        if self._cancelled.is_set():
            raise self._broken_off()
        _RequestThread(target=_run, args=(work, future), daemon=True, name="request").start()
        try:
            return future.result()
        finally:
            self._waiting = None

    def _exchanged(self, request: PreparedRequest, kwargs: dict[str, Any]) -> Answer:
        """Send `request`, follow where it is redirected to, and read the answer."""
        kwargs |= {"stream": True, "allow_redirects": False, "timeout": self._keys.timeout_seconds}
        following, renewed = request.copy(), False
        for _ in range(MAX_REDIRECTS + 1):
            if self._is_own(following.url or ""):
                self._credentials.give(following)
            else:
                self._credentials.take(following)
            with super().send(following, **kwargs) as response:
                if response.status_code == 401 and not renewed and self._credentials.renew():
                    renewed = True
                elif response.is_redirect and response.next and request.method == "GET":
                    following = response.next
                else:
                    return Answer.of(response, self._whole(response))
        raise requests.TooManyRedirects

    def _whole(self, response: requests.Response) -> bytes:
        chunks, size = [], 0
        for chunk in response.iter_content(_CHUNK_BYTES):
            if self._cancelled.is_set():
                raise self._broken_off()
            chunks.append(chunk)
            size += len(chunk)
            if size > self._keys.max_page_megabytes * 1_000_000:
                raise SourceError(
                    f"{self.where()}{self.shown(response.url)}: the answer is larger than "
                    f"max_page_megabytes ({self._keys.max_page_megabytes}); ask for smaller pages"
                )
        return b"".join(chunks)

    def _accepted(self, request: PreparedRequest, answer: Answer) -> Answer:
        """Return `answer` with its JSON. Raises what its status, or a body without JSON, means."""
        where, status = self.where(request), answer.status_code
        if status in self._keys.not_ready_statuses:
            raise NotReadyError(
                f"{where}{status} {answer.reason}: the source does not have the day yet"
            )
        if status in _TRANSIENT_STATUSES:
            raise self._come_back(where, answer)
        if not 200 <= status < 300:
            raise SourceError(f"{where}{self._refusal(request, answer)}")
        try:
            answer.document = parsed(answer.body)
        except ValueError:
            given = answer.headers.get("Content-Type", "no content type")
            text = f"{where}answered with {given}, which is no JSON: {self._excerpt(answer)}"
        else:
            return answer
        raise SourceError(text)

    def _come_back(self, where: str, answer: Answer) -> SourceError:
        said = f"{answer.status_code} {answer.reason}"
        seconds = retry_after(answer.headers.get("Retry-After"))
        longest = self._keys.max_backoff_seconds
        if seconds > longest:
            return SourceUnreachableError(
                f"{where}{said}: asks to come back in {seconds:.0f} s, which is longer than "
                f"max_backoff_seconds ({longest:.0f})"
            )
        return ComeBackLaterError(f"{where}{said} {self._excerpt(answer)}".rstrip(), seconds)

    def _refusal(self, request: PreparedRequest, answer: Answer) -> str:
        said = f"{answer.status_code} {answer.reason} {self._excerpt(answer)}".rstrip()
        if answer.is_redirect:
            return (
                f"{answer.status_code}: a {request.method} is redirected to "
                f"{self.shown(answer.headers['Location'])}; correct 'base_url' or 'path'"
            )
        if answer.status_code in (401, 403):
            if not self._is_own(answer.url):
                return f"{said}; 'auth' is given to the host of the base URL only"
            return f"{said}; check 'auth' in its defs.yaml and the settings that it names"
        return f"{said}; check 'path', 'params' and 'body' in its defs.yaml"

    def _excerpt(self, answer: Answer) -> str:
        text = " ".join(answer.body[: 8 * _SHOWN_OF_A_BODY].decode("utf-8", "replace").split())
        text = redact(text, *self._credentials.secrets)
        return text if len(text) <= _SHOWN_OF_A_BODY else f"{text[:_SHOWN_OF_A_BODY]}…"

    def _is_own(self, url: str) -> bool:
        return _origin(url) == _origin(self._base_url)

    def _wait_for_turn(self) -> None:
        if self._keys.requests_per_second:
            self._pause(self._next_turn - time.monotonic())
            self._next_turn = time.monotonic() + 1 / self._keys.requests_per_second

    def _pause(self, seconds: float) -> None:
        if self._cancelled.wait(max(0.0, seconds)):
            raise self._broken_off()

    def _broken_off(self) -> SourceError:
        return SourceError(f"{self.where()}it was broken off")


class _RequestThread(threading.Thread):
    """One whose requests urllib3 does not log: its line holds the key of a query."""

    @classmethod
    def is_not_current(cls, _: logging.LogRecord) -> bool:
        return not isinstance(threading.current_thread(), cls)


logging.getLogger("urllib3.connectionpool").addFilter(_RequestThread.is_not_current)


def _run(work: Callable[[], Answer], future: "Future[Answer]") -> None:
    try:
        answer = work()
    except BaseException as error:
        with suppress(InvalidStateError):  # cancelled meanwhile
            future.set_exception(error)
    else:
        with suppress(InvalidStateError):
            future.set_result(answer)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
