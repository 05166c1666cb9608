"""Keys of `source: {type: python}`."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sync_pipeline.config.sources.common import SourceModel
from sync_pipeline.config.sources.declared import DeclaredColumns

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


def _function(path: str) -> str:
    if not _FUNCTION.match(path):
        raise ValueError(f"{path!r} must be 'package.module:function'")
    return path


class PythonSource(SourceModel):
    """Rows from a generator function of your own."""

    type: Literal["python"] = "python"
    function: Annotated[str, AfterValidator(_function)] = Field(
        description="package.module:function; called with the day as a date, and the options"
    )
    columns: DeclaredColumns = Field(
        description="the rows' columns, each with its PostgreSQL type, such as numeric(10,2)"
    )
    day_column: str = Field(
        default="sync_date",
        description="column of type date, timestamp or timestamptz; if 'columns' has it not, it "
        "is added with the day",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the function"
    )

    @property
    def origin(self) -> str:
        return self.function
