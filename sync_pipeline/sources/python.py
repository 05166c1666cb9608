"""The `python` source: rows from a generator function that the user writes.

The function yields mappings keyed by column name, or Arrow record batches. PostgreSQL converts
the values to the types that the dataset declares, so a number may also be given as text.
"""

import importlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import PythonSource
from sync_pipeline.errors import SettingError, SourceError, SyncError, one_line
from sync_pipeline.sources.arrow.declared import text_schema, to_text_batches


class PythonRows:
    """An `ArrowRows` that calls the dataset's function once per day."""

    def __init__(self, dataset: Dataset, keys: PythonSource) -> None:
        self._dataset = dataset
        self._keys = keys
        self._function = _import_function(dataset, keys)
        self.declared: Mapping[str, str] = keys.columns
        self.schema = text_schema(keys.columns)
        self._cancelled = threading.Event()

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows that the function yields for `day`.

        The dataset and the day are added to the message of any error that the function raises. A
        SyncError keeps its class, and any other error becomes a SourceError.
        """
        self._cancelled.clear()
        try:
            rows = self._until_cancelled(self._function(day, **self._keys.options), day)
            yield from to_text_batches(rows, self.declared, self._where(day))
        except SyncError as error:
            if str(error).startswith(f"dataset {self._dataset.name}: "):
                raise
            raise type(error)(f"{self._where(day)}: {one_line(error)}") from error
        except SystemExit as error:  # a library called sys.exit; the run itself must continue
            raise SourceError(
                f"{self._where(day)} called sys.exit({error.code!r}); raise an error instead"
            ) from error
        except Exception as error:
            raise SourceError(f"{self._where(day)} failed: {one_line(error)}") from error

    def source_count(self) -> int | None:
        return None

    def cancel(self) -> None:
        """Stop reading when the function yields its next row."""
        self._cancelled.set()

    def close(self) -> None:
        """Do nothing: no resources are held between days."""

    def _until_cancelled(self, rows: Iterable[Any], day: date) -> Iterator[Any]:
        for row in rows:
            if self._cancelled.is_set():
                raise SourceError(f"{self._where(day)} was cancelled")
            yield row

    def _where(self, day: date) -> str:
        return f"dataset {self._dataset.name}: {self._keys.function} for {day}"


def _import_function(dataset: Dataset, keys: PythonSource) -> Callable[..., Iterable[Any]]:
    """Import and return the dataset's function. Raises SettingError if that fails."""
    module, _, name = keys.function.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(
            f"dataset {dataset.name}: cannot import {keys.function}: {one_line(error)}; correct "
            "'function' in its defs.yaml"
        ) from None
    if not callable(found):
        raise SettingError(
            f"dataset {dataset.name}: {keys.function} is not a function; correct 'function' in its "
            "defs.yaml"
        )
    function: Callable[..., Iterable[Any]] = found
    return function
