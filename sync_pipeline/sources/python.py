"""A source that is a generator function of the user's.

It yields rows as mappings by column name, or Arrow record batches. PostgreSQL reads their values as
the types that the dataset declares, so that a number may come as text.
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
from sync_pipeline.sources.arrow.declared import as_declared, schema_of


class PythonRows:
    """`ArrowRows` of what a function gives, called once a day."""

    def __init__(self, dataset: Dataset, keys: PythonSource) -> None:
        self._dataset = dataset
        self._keys = keys
        self._function = _find(dataset, keys)
        self.declared: Mapping[str, str] = keys.columns
        self.schema = schema_of(keys.columns)
        self._cancelled = threading.Event()

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield what the function gives for `day`. Raises what it raised, with the dataset and the
        day: a SyncError as itself, anything else as a SourceError."""
        self._cancelled.clear()
        try:
            rows = self._until_cancelled(self._function(day, **self._keys.options), day)
            yield from as_declared(rows, self.declared, self._where(day))
        except SyncError as error:
            if str(error).startswith(f"dataset {self._dataset.name}: "):
                raise
            raise type(error)(f"{self._where(day)}: {one_line(error)}") from error
        except SystemExit as error:  # of a library: nobody told the run to end
            said = f"{self._where(day)} ended by sys.exit({error.code!r}); raise an error instead"
            raise SourceError(said) from error
        except Exception as error:
            raise SourceError(f"{self._where(day)} failed: {one_line(error)}") from error

    def counted(self) -> int | None:
        return None

    def cancel(self) -> None:
        """Let the function go after its next row."""
        self._cancelled.set()

    def close(self) -> None:
        """Nothing is held between two days."""

    def _until_cancelled(self, rows: Iterable[Any], day: date) -> Iterator[Any]:
        for row in rows:
            if self._cancelled.is_set():
                raise SourceError(f"{self._where(day)} was broken off")
            yield row

    def _where(self, day: date) -> str:
        return f"dataset {self._dataset.name}: {self._keys.function} for {day}"


def _find(dataset: Dataset, keys: PythonSource) -> Callable[..., Iterable[Any]]:
    """Return the function that the dataset names. Raises SettingError."""
    module, _, name = keys.function.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(
            f"dataset {dataset.name}: cannot import {keys.function}: {one_line(error)}; correct "
            "'function' in its defs.yaml"
        ) from None
    if not callable(found):
        raise SettingError(f"dataset {dataset.name}: {keys.function} is no function")
    function: Callable[..., Iterable[Any]] = found
    return function
