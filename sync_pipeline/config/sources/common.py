"""What the keys of every kind of source, and of a dataset, are made of. No library of a source is
imported here."""

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
            "must be the NAME of an environment variable that holds the URL, "
            "such as SYNC_SOURCE_URL; a URL itself never stands in a file"
        )
    return name


def _table_name(name: str) -> str:
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise ValueError(f"{name!r} must be 'table' or 'schema.table'")
    too_long = [part for part in parts if len(part.encode()) > 63]
    if too_long:
        raise ValueError(f"{too_long[0]!r} is longer than PostgreSQL's 63 bytes for a name")
    return name


EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
TableName = Annotated[str, AfterValidator(_table_name)]


def _null_word(given: Any) -> Any:
    return "null" if given is None else given


NullWord = BeforeValidator(_null_word)
"""For a key that may say `null`: without quotes, YAML does not read that as a word."""

PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class StrictModel(BaseModel):
    """A mapping in a `defs.yaml`: frozen, and without a key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, given: Any) -> Any:
        """Name the keys that are allowed; pydantic's own message names only the wrong one."""
        if not isinstance(given, (dict, cls)):
            raise ValueError(f"must be a mapping; its keys are {', '.join(cls.model_fields)}")
        unknown = sorted(set(given) - set(cls.model_fields)) if isinstance(given, dict) else []
        if unknown:
            current = KEYS.get(str(unknown[0]))
            if current is not None:
                raise ValueError(f"key {unknown[0]!r} was renamed; use {current!r}")
            near = difflib.get_close_matches(str(unknown[0]), cls.model_fields, n=1)
            raise ValueError(
                f"unknown key {unknown[0]!r}"
                + (f", did you mean {near[0]!r}?" if near else ";")
                + f" allowed are {', '.join(cls.model_fields)}"
            )
        return given


def by_type(*kinds: type[StrictModel], default: str | None = None) -> WrapValidator:
    """Return what reads a mapping as that one of `kinds` whose `type` it gives.

    Unlike pydantic's own discriminator, it adds nothing to the path of a key that is wrong, by
    which the line of the file is found.
    """
    known = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in kinds}

    def read(given: Any, _handler: object) -> Any:
        if isinstance(given, kinds):
            return given
        chosen = str(given.get("type", default)) if isinstance(given, dict) else None
        if chosen not in known:
            raise ValueError(f"must be a mapping whose type is one of {', '.join(known)}")
        return known[chosen].model_validate(given)

    return WrapValidator(read)


class SourceModel(StrictModel):
    """What every kind of source can say of itself. Each has a `type` and a `day_column`, the column
    that says to which day a row belongs."""

    @property
    def origin(self) -> str:
        """Where rows come from, in a word or two for people, without secrets."""
        raise NotImplementedError

    @property
    def secret_settings(self) -> tuple[str, ...]:
        """The environment variables whose values must not be shown."""
        return ()

    @property
    def slots(self) -> tuple[str, int] | None:
        """What source this is, and how many workers may read it at once; None for any number."""
        return None


def check_selection(
    table: str | None, query: str | None, columns: Sequence[str] | None, day_column: str
) -> None:
    """Raise ValueError, which names the key, if what is read of a database is not one thing."""
    if (table is None) == (query is None):
        raise ValueError("give exactly one of 'table' and 'query'")
    if columns is not None:
        twice = {name for name in columns if columns.count(name) > 1}
        if twice:
            raise ValueError(f"'columns' names {sorted(twice)[0]!r} twice")
        if day_column not in columns:
            raise ValueError(f"'columns' must contain the day_column {day_column!r}")
