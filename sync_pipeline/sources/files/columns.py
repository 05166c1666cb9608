"""Check the columns of a file against those of its dataset, and put them in the same order.

Does not check their types: see the module for each format.
"""

from collections.abc import Sequence

import pyarrow as pa

from sync_pipeline.config.sources import FilesSource
from sync_pipeline.config.sources.declared import COLUMN_NAME, is_column_name
from sync_pipeline.errors import SourceError


def check_columns(
    found: Sequence[str], wanted: Sequence[str], keys: FilesSource, where: str
) -> None:
    """Raise SourceError if the columns `found` in a file differ from the `wanted` ones.

    `missing_columns` and `extra_columns` determine which differences are allowed. The message
    starts with `where`.
    """
    duplicates = sorted({name for name in found if name and found.count(name) > 1})
    if duplicates:
        raise SourceError(f"{where} has two columns named {duplicates[0]!r}; rename one")
    check_extra_columns(set(found), wanted, keys, where)
    missing = [name for name in wanted if name not in found]
    if missing and (keys.missing_columns == "fail" or keys.day_column in missing):
        raise SourceError(
            f"{where} has no column {missing[0]!r}; its columns are "
            f"{', '.join(map(repr, found))}. Correct the file or 'columns', or set "
            "'missing_columns: null' in its defs.yaml"
        )


def check_extra_columns(
    found: set[str], wanted: Sequence[str], keys: FilesSource, where: str
) -> None:
    """Raise SourceError if the file has columns not in `wanted` and `extra_columns` is `fail`."""
    extra = found.difference(wanted)
    if extra and keys.extra_columns == "fail":
        if keys.columns and not is_column_name(min(extra)):
            raise SourceError(
                f"{where} has a column {min(extra)!r}, which 'columns' cannot declare; rename it "
                f"in the file ({COLUMN_NAME}), or set 'extra_columns: ignore' in its defs.yaml"
            )
        expected = "'columns'" if keys.columns else "the newest file"
        raise SourceError(
            f"{where} has a column {min(extra)!r}, which is not in {expected}; add it to 'columns' "
            "with its type, or set 'extra_columns: ignore' in its defs.yaml"
        )


def align_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return `batch` with the columns of `schema`, in the same order. Missing ones are NULL."""
    columns = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, names=schema.names)
