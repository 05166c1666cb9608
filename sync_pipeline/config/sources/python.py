"""The keys of `source: {type: python}`."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sync_pipeline.config.sources.declared import DeclaredColumns
from sync_pipeline.config.sources.strict_model import SourceModel

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


def _function(path: str) -> str:
    if not _FUNCTION.match(path):
        raise ValueError(f"{path!r} must have the form 'package.module:function'")
    return path


class PythonSource(SourceModel):
    """Rows yielded by your own Python generator function."""

    type: Literal["python"] = Field(default="python", description="the type of the source")
    function: Annotated[str, AfterValidator(_function)] = Field(
        description="`package.module:function`; it is called with the day (a `date`) and the "
        "`options`"
    )
    columns: DeclaredColumns = Field(
        description="columns of the rows, each with its PostgreSQL type, such as `numeric(10,2)`"
    )
    day_column: str = Field(
        default="sync_date",
        description="column that determines a row's day, of type date, timestamp or timestamptz; "
        "if `columns` does not contain it, it is added with the day",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments for the function"
    )

    @property
    def origin(self) -> str:
        return self.function
