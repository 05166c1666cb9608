"""The keys under `paginator:` in `source: {type: rest}`: how to get from one page to the next.

There is no default, because rows would be lost silently if the wrong pagination were assumed.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.json_path import JsonPath
from sync_pipeline.config.sources.strict_model import StrictModel, by_type

_Parameter = Annotated[str, Field(min_length=1)]


class SinglePage(StrictModel):
    """The first response contains the whole day."""

    type: Literal["single_page"] = Field(description="the type of pagination")


class JsonLink(StrictModel):
    """The response contains the URL of the next page."""

    type: Literal["json_link"] = Field(description="the type of pagination")
    next_url_path: JsonPath = Field(
        description="JSONPath of the next page's URL; a page without it is the last"
    )


class HeaderLink(StrictModel):
    """The `Link` header contains the URL of the next page, as in GitHub's API."""

    type: Literal["header_link"] = Field(description="the type of pagination")
    rel: str = Field(default="next", description="relation (`rel`) of the link to the next page")


class HeaderCursor(StrictModel):
    """A response header contains the cursor for the next page."""

    type: Literal["header_cursor"] = Field(description="the type of pagination")
    header: str = Field(description="header that contains the cursor")
    param: _Parameter = Field(description="query parameter in which the cursor is sent")


class Cursor(StrictModel):
    """The response contains the cursor for the next page."""

    type: Literal["cursor"] = Field(description="the type of pagination")
    cursor_path: JsonPath = Field(
        description="JSONPath of the cursor; a page without it is the last"
    )
    param: _Parameter | None = Field(
        default=None, description="query parameter in which the cursor is sent"
    )
    body_path: _Parameter | None = Field(
        default=None,
        description="instead of `param`: path of the cursor in the JSON body, such as `page.after`",
    )
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of a value that is true while there are more pages"
    )

    @model_validator(mode="after")
    def _check_location(self) -> "Cursor":
        if (self.param is None) == (self.body_path is None):
            raise ValueError("give exactly one of 'param' and 'body_path'")
        return self


class Offset(StrictModel):
    """Pages are requested by offset, until the source's `count` is reached or, without it, until a
    page is empty."""

    type: Literal["offset"] = Field(description="the type of pagination")
    limit: Annotated[int, Field(ge=1)] = Field(description="number of rows per page")
    offset_param: _Parameter = Field(default="offset", description="query parameter for the offset")
    limit_param: _Parameter = Field(default="limit", description="query parameter for the limit")
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of a value that is true while there are more pages"
    )


class PageNumber(StrictModel):
    """Pages are requested by number, up to the total at `total_pages_path` or, without it, until a
    page is empty."""

    type: Literal["page_number"] = Field(description="the type of pagination")
    param: _Parameter = Field(default="page", description="query parameter for the page number")
    first_page: int = Field(default=1, description="number of the first page")
    total_pages_path: JsonPath | None = Field(
        default=None, description="JSONPath of the total number of pages"
    )
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of a value that is true while there are more pages"
    )


Paginator = Annotated[
    SinglePage | JsonLink | HeaderLink | HeaderCursor | Cursor | Offset | PageNumber,
    by_type(SinglePage, JsonLink, HeaderLink, HeaderCursor, Cursor, Offset, PageNumber),
]
