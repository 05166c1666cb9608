"""Base models and field types for a `defs.yaml`, shared by datasets and all source types.

Does not define keys and does not import any source's libraries: see the other modules of this
package.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WrapValidator,
    model_validator,
)

from sync_pipeline.config.renamed import KEYS

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _environment_name(name: str) -> str:
    if not _ENVIRONMENT_NAME.match(name):
        raise ValueError(
            "must be the NAME of an environment variable, such as SYNC_SOURCE_URL; a URL or a "
            "secret must not be written to this file"
        )
    return name


def _table_name(name: str) -> str:
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise ValueError(f"{name!r} must be 'table' or 'schema.table'")
    too_long = [part for part in parts if len(part.encode()) > 63]
    if too_long:
        raise ValueError(f"{too_long[0]!r} is longer than 63 bytes, PostgreSQL's limit for a name")
    return name


EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
TableName = Annotated[str, AfterValidator(_table_name)]


def _null_word(value: Any) -> Any:
    return "null" if value is None else value


NullWord = BeforeValidator(_null_word)
"""For a key that accepts the word `null`, which YAML reads as None unless it is quoted."""

PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class StrictModel(BaseModel):
    """A mapping in a `defs.yaml`. It is frozen, and unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        """Reject unknown keys. Unlike pydantic's message, the error lists the allowed ones."""
        if not isinstance(value, (dict, cls)):
            raise ValueError(f"must be a mapping; its keys are {', '.join(cls.model_fields)}")
        unknown = sorted(set(value) - set(cls.model_fields)) if isinstance(value, dict) else []
        if unknown:
            current = KEYS.get(str(unknown[0]))
            if current is not None:
                raise ValueError(f"key {unknown[0]!r} was renamed; use {current!r}")
            near = difflib.get_close_matches(str(unknown[0]), cls.model_fields, n=1)
            raise ValueError(
                f"unknown key {unknown[0]!r}"
                + (f", did you mean {near[0]!r}?" if near else ";")
                + f" allowed keys: {', '.join(cls.model_fields)}"
            )
        return value


def by_type(*kinds: type[StrictModel], default: str | None = None) -> WrapValidator:
    """Return a validator that parses a mapping as the model in `kinds` that its `type` selects.

    Unlike pydantic's discriminator, it leaves the type out of an invalid key's path, because that
    path is used to find the line in the file.
    """
    known = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in kinds}

    def read(value: Any, _handler: object) -> Any:
        if isinstance(value, kinds):
            return value
        chosen = str(value.get("type", default)) if isinstance(value, dict) else None
        if chosen not in known:
            raise ValueError(f"must be a mapping whose type is one of {', '.join(known)}")
        return known[chosen].model_validate(value)

    return WrapValidator(read)


class SourceModel(StrictModel):
    """The base model for all source types. Each defines `type` and `day_column`, the column that
    determines a row's day."""

    @property
    def origin(self) -> str:
        """A short name for where the rows come from, without secrets."""
        raise NotImplementedError

    @property
    def secret_settings(self) -> tuple[str, ...]:
        """The names of the environment variables that contain secrets."""
        return ()

    @property
    def slots(self) -> tuple[str, int] | None:
        """The setting that identifies the source, and how many workers may read it at the same
        time; None if there is no limit."""
        return None


def check_selection(
    table: str | None, query: str | None, columns: Sequence[str] | None, day_column: str
) -> None:
    """Check the keys that select what is read from a database. Raises a ValueError that
    names the key if one is not valid."""
    if (table is None) == (query is None):
        raise ValueError("give exactly one of 'table' and 'query'")
    if columns is not None:
        duplicates = {name for name in columns if columns.count(name) > 1}
        if duplicates:
            raise ValueError(f"'columns' contains {sorted(duplicates)[0]!r} twice")
        if day_column not in columns:
            raise ValueError(f"'columns' must contain the day_column {day_column!r}")
