"""Keys under `paginator:` of `source: {type: rest}`: how one page leads to the next.

There is no default and no guessing: an API whose pages were not followed would lose rows unseen.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync_pipeline.config.sources.common import StrictModel, by_type
from sync_pipeline.config.sources.json_path import JsonPath

_Parameter = Annotated[str, Field(min_length=1)]


class SinglePage(StrictModel):
    """The first answer is the whole day."""

    type: Literal["single_page"]


class JsonLink(StrictModel):
    """The answer holds the address of the next page."""

    type: Literal["json_link"]
    next_url_path: JsonPath = Field(description="JSONPath of the next page's address")


class HeaderLink(StrictModel):
    """The `Link` header holds the address of the next page, as GitHub does it."""

    type: Literal["header_link"]
    rel: str = Field(default="next", description="the relation that names the next page")


class HeaderCursor(StrictModel):
    """A header holds what the next page is asked for with."""

    type: Literal["header_cursor"]
    header: str = Field(description="the header with the cursor")
    param: _Parameter = Field(description="query parameter that takes it")


class Cursor(StrictModel):
    """The answer holds what the next page is asked for with."""

    type: Literal["cursor"]
    cursor_path: JsonPath = Field(description="JSONPath of the cursor; the last page has none")
    param: _Parameter | None = Field(default=None, description="query parameter that takes it")
    body_path: _Parameter | None = Field(
        default=None, description="in place of param: where it goes in the JSON body, as a.b"
    )
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of true while there are more pages"
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Cursor":
        if (self.param is None) == (self.body_path is None):
            raise ValueError("give exactly one of 'param' and 'body_path'")
        return self


class Offset(StrictModel):
    """A page is so many rows from so many on. The total is taken from the source's `count`."""

    type: Literal["offset"]
    limit: Annotated[int, Field(ge=1)] = Field(description="rows of a page")
    offset_param: _Parameter = "offset"
    limit_param: _Parameter = "limit"
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of true while there are more pages"
    )


class PageNumber(StrictModel):
    """Pages have numbers. The first empty page is the end, or the total of pages."""

    type: Literal["page_number"]
    param: _Parameter = "page"
    first_page: int = Field(default=1, description="the number of the first page")
    total_pages_path: JsonPath | None = Field(
        default=None, description="JSONPath of the number of pages"
    )
    has_more_path: JsonPath | None = Field(
        default=None, description="JSONPath of true while there are more pages"
    )


Paginator = Annotated[
    SinglePage | JsonLink | HeaderLink | HeaderCursor | Cursor | Offset | PageNumber,
    by_type(SinglePage, JsonLink, HeaderLink, HeaderCursor, Cursor, Offset, PageNumber),
]
