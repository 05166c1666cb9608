"""Request the pages of a day with dlt's REST client and the configured paginator.

Imports only dlt's `rest_client`: no pipeline, no telemetry, no configuration files. Does not send
requests: see `http.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import requests
from dlt.common.configuration.specs.runtime_configuration import RuntimeConfiguration
from dlt.sources.helpers.rest_client import paginators
from dlt.sources.helpers.rest_client.client import RESTClient

from sync_pipeline.config.sources import RestSource, rest_pages
from sync_pipeline.config.sources.json_path import steps_of
from sync_pipeline.errors import SourceError, SyncError
from sync_pipeline.sources.rest.http import Transport


class Client(RESTClient):
    """dlt's client, which finds the rows in a response with `extract_rows`."""

    def __init__(
        self, base_url: str, transport: Transport, extract_rows: Callable[[Any], list[Any]]
    ) -> None:
        super().__init__(base_url, session=transport, config=RuntimeConfiguration())
        self._extract_rows = extract_rows
        self._found: list[Any] = []

    def pages(self, keys: RestSource, request: dict[str, Any], where: str) -> Iterator[list[Any]]:
        """Yield the rows of each page; the caller may modify the list. Raises SourceError or
        NotReadyError."""
        found = self.paginate(
            method=keys.method,
            headers=keys.headers,
            paginator=make_paginator(keys),
            data_selector="$",
            hooks={"response": []},  # the transport checks the status
            **request,
        )
        while True:
            page = _next_page(found, where)
            if page is None:
                return
            page.response.release()
            self._found.clear()
            yield page

    def extract_response(self, response: requests.Response, data_selector: Any) -> list[Any]:
        """Return the rows in a response. dlt's own method would treat a missing list as empty."""
        self._found = self._extract_rows(response.json())
        return self._found

    def _log_request(self, request: requests.Request, prepared_url: str) -> None:
        """Do nothing: dlt would log the URL, which may contain a secret."""


def _next_page(pages: Iterator[Any], where: str) -> Any:
    """Return the next page, or None after the last one."""
    try:
        return next(pages, None)
    except SyncError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError):
        text = (
            f"{where}a field that 'paginator' names is missing from a response or has an "
            "unexpected type; correct 'paginator' in its defs.yaml"
        )
    raise SourceError(text)  # without a cause, which may contain a whole response


def make_paginator(keys: RestSource) -> paginators.BasePaginator:
    """Return a new paginator that starts at the first page."""
    how = keys.paginator
    if isinstance(how, rest_pages.JsonLink):
        return _JsonLink(_to_jsonpath(how.next_url_path))
    if isinstance(how, rest_pages.HeaderLink):
        return paginators.HeaderLinkPaginator(how.rel)
    if isinstance(how, rest_pages.HeaderCursor):
        return paginators.HeaderCursorPaginator(how.header, how.param)
    if isinstance(how, rest_pages.Cursor):
        return paginators.JSONResponseCursorPaginator(
            cursor_path=_to_jsonpath(how.cursor_path),
            cursor_param=how.param,
            cursor_body_path=how.body_path,
            has_more_path=_to_jsonpath(how.has_more_path),
        )
    if isinstance(how, rest_pages.Offset):
        return paginators.OffsetPaginator(
            limit=how.limit,
            offset_param=how.offset_param,
            limit_param=how.limit_param,
            total_path=_to_jsonpath(keys.count),
            has_more_path=_to_jsonpath(how.has_more_path),
        )
    if isinstance(how, rest_pages.PageNumber):
        return paginators.PageNumberPaginator(
            base_page=how.first_page,
            page_param=how.param,
            total_path=_to_jsonpath(how.total_pages_path),
            has_more_path=_to_jsonpath(how.has_more_path),
        )
    return paginators.SinglePagePaginator()


class _JsonLink(paginators.JSONLinkPaginator):
    """dlt's paginator for a next-page URL in the JSON; here, an empty URL marks the last page."""

    def update_state(self, response: requests.Response, data: list[Any] | None = None) -> None:
        super().update_state(response, data)
        if not self._next_reference:
            self._next_reference = None


def _to_jsonpath(path: str | None) -> Any:
    """Return a path as a JSONPath for dlt, with every name quoted."""
    return None if path is None else "$" + "".join(map(_format_step, steps_of(path)))


def _format_step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f'["{step}"]' if "'" in step else f"['{step}']"
