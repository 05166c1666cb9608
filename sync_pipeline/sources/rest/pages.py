"""dlt's REST client and its paginators, made of the keys under `paginator:`.

Only dlt's `rest_client` is imported: no pipeline, no telemetry, no configuration files.
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
    """dlt's, which finds the rows of an answer as `records_of` says."""

    def __init__(
        self, base_url: str, transport: Transport, records_of: Callable[[Any], list[Any]]
    ) -> None:
        super().__init__(base_url, session=transport, config=RuntimeConfiguration())
        self._records_of = records_of
        self._found: list[Any] = []

    def pages(self, keys: RestSource, request: dict[str, Any], where: str) -> Iterator[list[Any]]:
        """Yield the rows of each page, the caller's to keep. Raises SourceError, NotReadyError."""
        found = self.paginate(
            method=keys.method,
            headers=keys.headers,
            paginator=paginator_of(keys),
            data_selector="$",
            hooks={"response": []},  # the transport judges a status
            **request,
        )
        while True:
            page = _next(found, where)
            if page is None:
                return
            page.response.forget()
            self._found.clear()
            yield page

    def extract_response(self, response: requests.Response, data_selector: Any) -> list[Any]:
        """Return the rows of an answer. (dlt's own takes a missing list for an empty one.)"""
        self._found = self._records_of(response.json())
        return self._found

    def _log_request(self, request: requests.Request, prepared_url: str) -> None:
        """Log nothing: dlt's own line can hold a secret that stands in an address."""


def _next(pages: Iterator[Any], where: str) -> Any:
    """Return the next page; None after the last."""
    try:
        return next(pages, None)
    except SyncError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError):
        text = (
            f"{where}an answer lacks what 'paginator' names, or has it in another form; correct "
            "'paginator' in its defs.yaml"
        )
    raise SourceError(text)  # the error itself may hold a whole answer


def paginator_of(keys: RestSource) -> paginators.BasePaginator:
    """Return a paginator at its first page."""
    how = keys.paginator
    if isinstance(how, rest_pages.JsonLink):
        return _JsonLink(_path(how.next_url_path))
    if isinstance(how, rest_pages.HeaderLink):
        return paginators.HeaderLinkPaginator(how.rel)
    if isinstance(how, rest_pages.HeaderCursor):
        return paginators.HeaderCursorPaginator(how.header, how.param)
    if isinstance(how, rest_pages.Cursor):
        return paginators.JSONResponseCursorPaginator(
            cursor_path=_path(how.cursor_path),
            cursor_param=how.param,
            cursor_body_path=how.body_path,
            has_more_path=_path(how.has_more_path),
        )
    if isinstance(how, rest_pages.Offset):
        return paginators.OffsetPaginator(
            limit=how.limit,
            offset_param=how.offset_param,
            limit_param=how.limit_param,
            total_path=_path(keys.count),
            has_more_path=_path(how.has_more_path),
        )
    if isinstance(how, rest_pages.PageNumber):
        return paginators.PageNumberPaginator(
            base_page=how.first_page,
            page_param=how.param,
            total_path=_path(how.total_pages_path),
            has_more_path=_path(how.has_more_path),
        )
    return paginators.SinglePagePaginator()


class _JsonLink(paginators.JSONLinkPaginator):
    """dlt's, which would take an empty address for another page."""

    def update_state(self, response: requests.Response, data: list[Any] | None = None) -> None:
        super().update_state(response, data)
        if not self._next_reference:
            self._next_reference = None


def _path(path: str | None) -> Any:
    """Return one of our paths as dlt's JSONPath reads any name."""
    return None if path is None else "$" + "".join(map(_step, steps_of(path)))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f'["{step}"]' if "'" in step else f"['{step}']"
