"""Build the requests for the pages of a day: the first one, and the next one after each response.

Does not send requests: see `http.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import urljoin

import httpx
from pydantic import TypeAdapter

from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.json_path import MISSING, find, steps_of
from sync_pipeline.config.sources.placeholders import fill
from sync_pipeline.config.sources.rest_pages import (
    Cursor,
    HeaderCursor,
    HeaderLink,
    JsonLink,
    Offset,
    PageNumber,
)
from sync_pipeline.errors import SourceError

_BOOLEAN: TypeAdapter[bool] = TypeAdapter(bool)


@dataclass(frozen=True)
class PageRequest:
    """The URL, query parameters and JSON body of the request for a page."""

    url: str
    params: dict[str, Any]
    body: dict[str, Any] | None


@dataclass(frozen=True)
class Page:
    """A response whose whole body has been read. `document` is its JSON, with exact numbers."""

    response: httpx.Response
    document: Any


def first_page(keys: RestSource, base_url: str, values: Mapping[str, date | int]) -> PageRequest:
    """Return the request for the first page of the day that has the placeholders' `values`."""
    path = fill(keys.path, values)
    how, filled = keys.paginator, fill(keys.params, values)
    params = {name: value for name, value in filled.items() if value is not None}
    if isinstance(how, Offset):
        params |= {how.offset_param: 0, how.limit_param: how.limit}
    elif isinstance(how, PageNumber):
        params[how.param] = how.first_page
    url = f"{base_url}/{path.lstrip('/')}" if path else base_url
    return PageRequest(url, params, fill(keys.body, values))


def next_page(
    keys: RestSource,
    request: PageRequest,
    page: Page,
    rows: list[Any],
    total: int | None,
    where: str,
) -> PageRequest | None:
    """Return the request for the page after `page`, or None if it is the last.

    `rows` are the rows in `page`; `total` is the day's number of rows, or None if it is not known.
    Raises SourceError, whose message starts with `where` and does not show the response.
    """
    how = keys.paginator
    try:
        if isinstance(how, JsonLink):
            return _follow(request, _find(how.next_url_path, page))
        if isinstance(how, HeaderLink):
            return _follow(request, page.response.links.get(how.rel, {}).get("url"))
        if isinstance(how, HeaderCursor):
            return _with_param(request, how.param, page.response.headers.get(how.header))
        if isinstance(how, Cursor):
            cursor = _find(how.cursor_path, page) if _has_more(how.has_more_path, page) else None
            if how.param:
                return _with_param(request, how.param, cursor)
            body = _with_value(request.body or {}, how.body_path or "", cursor)
            return replace(request, body=body) if cursor else None
        if isinstance(how, Offset) and rows and _has_more(how.has_more_path, page):
            offset = request.params[how.offset_param] + how.limit
            if total is None or offset < total:
                return _with_param(request, how.offset_param, offset)
        if isinstance(how, PageNumber) and rows and _has_more(how.has_more_path, page):
            number = request.params[how.param] + 1
            path = how.total_pages_path
            if path is None or number < how.first_page + int(_find(path, page)):
                return replace(request, params=request.params | {how.param: number})
    except (ValueError, TypeError):
        raise SourceError(
            f"{where}a field that 'paginator' names is missing from a response or has an "
            "unexpected type; correct 'paginator' in its defs.yaml"
        ) from None
    return None


def _find(path: str, page: Page) -> Any:
    """Return the value at `path` in the response, or None if it is absent."""
    found = find(steps_of(path), page.document)
    return None if found is MISSING else found


def _has_more(path: str | None, page: Page) -> bool:
    return path is None or _BOOLEAN.validate_python(_find(path, page))


def _follow(request: PageRequest, link: str | None) -> PageRequest | None:
    return replace(request, url=urljoin(request.url, link), params={}) if link else None


def _with_param(request: PageRequest, name: str, cursor: Any) -> PageRequest | None:
    return replace(request, params=request.params | {name: cursor}) if cursor else None


def _with_value(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return `body` with `value` at `path`, such as ``page.after``."""
    name, _, rest = path.partition(".")
    return body | {name: _with_value(body.get(name, {}), rest, value) if rest else value}
