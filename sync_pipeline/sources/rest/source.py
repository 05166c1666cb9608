"""A source that is JSON over HTTP, page by page, through dlt's REST client.

What it sends and how is `rest_http`, where the next page is `rest_pages`, what an answer says is
`rest_rows`. One page is held in memory at a time.
"""

from collections.abc import Generator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.placeholders import filled, values_of
from sync_pipeline.config.sources.rest_url import http_url
from sync_pipeline.errors import SettingError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.arrow.declared import schema_of
from sync_pipeline.sources.rest.auth import Credentials
from sync_pipeline.sources.rest.http import Transport
from sync_pipeline.sources.rest.pages import Client
from sync_pipeline.sources.rest.rows import Batches, DayOfAnswers


class RestRows:
    """`ArrowRows` of an API's answers. Nothing is asked for before the first day is read."""

    def __init__(self, dataset: Dataset, keys: RestSource, settings: Settings) -> None:
        self._dataset = dataset
        self._keys = keys
        self._base_url = keys.base_url or _base_url(dataset, keys, settings)
        self._credentials = Credentials(dataset, keys, settings, self._base_url)
        self.declared: Mapping[str, str] = keys.columns
        self.schema = schema_of(keys.columns)
        self._batches = Batches(keys, self.schema)
        self._transport = self._connected()
        self._total: int | None = None

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`, a page at a time. Raises SourceError, NotReadyError."""
        self._total = None
        self._transport.begin(day)
        where = self._transport.where()
        answers = DayOfAnswers(self._keys, where)
        client = Client(self._base_url, self._transport, answers.records)
        whole = False
        try:
            for records in client.pages(self._keys, self._request(day), where):
                batch = self._batches.of(records, where)
                records.clear()  # before the next page is asked for
                yield batch
            answers.finish()
            self._total = answers.total
            whole = True
        finally:
            if not whole:  # a thread may still wait for an answer: no other request meets it
                self.close()
                self._transport = self._connected()

    def counted(self) -> int | None:
        """Return what the answers said last, where `count` is given."""
        return self._total

    def cancel(self) -> None:
        self._transport.cancel()

    def close(self) -> None:
        self._transport.close()

    def _connected(self) -> Transport:
        return Transport(self._dataset, self._keys, self._base_url, self._credentials)

    def _request(self, day: date) -> dict[str, Any]:
        keys, values = self._keys, values_of(day, self._dataset.zone)
        params = {name: _query(value) for name, value in filled(keys.params, values).items()}
        return {"path": filled(keys.path, values), "params": params} | (
            {} if keys.body is None else {"json": filled(keys.body, values)}
        )


def _query(value: Any) -> Any:
    """Return a value as it stands in a query: JSON's words for true and false."""
    if isinstance(value, list):
        return [_query(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def _base_url(dataset: Dataset, keys: RestSource, settings: Settings) -> str:
    """Return the address in `base_url_env`. Raises SettingError, which does not show it."""
    assert keys.base_url_env is not None  # noqa: S101  one of the two is given
    what = "the API's base URL, such as https://api.example.com/v1"
    try:
        return http_url(settings.required(keys.base_url_env, what))
    except ValueError as error:
        raise SettingError(f"dataset {dataset.name}: {keys.base_url_env} {error}") from None
