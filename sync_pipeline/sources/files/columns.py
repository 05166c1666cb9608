"""The columns of a file against those of its dataset: in order, and none lost without a word."""

from collections.abc import Sequence

import pyarrow as pa

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import SourceError


def check_columns(
    found: Sequence[str], wanted: Sequence[str], keys: FilesSource, where: str
) -> None:
    """Raise SourceError, which begins with `where`, if a file with the columns `found` is not to be
    read as one with those `wanted`."""
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise SourceError(f"{where} has two columns named {twice[0]!r}; rename one")
    refuse_extra(set(found), wanted, keys, where)
    missing = [name for name in wanted if name not in found]
    if missing and (keys.missing_columns == "fail" or keys.day_column in missing):
        raise SourceError(
            f"{where} has no column {missing[0]!r}; it has {', '.join(map(repr, found))}. Correct "
            "the file or 'columns', or set 'missing_columns: null' in its defs.yaml"
        )


def refuse_extra(found: set[str], wanted: Sequence[str], keys: FilesSource, where: str) -> None:
    """Raise SourceError for a column that only the file has, unless such are to be ignored."""
    extra = found.difference(wanted)
    if extra and keys.extra_columns == "fail":
        others = "'columns' does" if keys.columns else "the newest file does"
        raise SourceError(
            f"{where} has a column {min(extra)!r} that {others} not have; add it to 'columns' with "
            "its type, or set 'extra_columns: ignore' in its defs.yaml"
        )


def in_order(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of `batch` that `schema` names, in its order; NULL for what is missing."""
    columns = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, names=schema.names)
