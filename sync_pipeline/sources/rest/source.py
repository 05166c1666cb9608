"""The `rest` source: reads JSON over HTTP, page by page, with dlt's REST client.

Keeps one page in memory at a time. Does not send requests (see `http.py`), find the next page (see
`pages.py`) or find the rows in a response (see `rows.py`).
"""

from collections.abc import Generator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.placeholders import fill, values_of
from sync_pipeline.config.sources.rest_url import http_url
from sync_pipeline.errors import SettingError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.arrow.declared import text_schema
from sync_pipeline.sources.rest.auth import Credentials
from sync_pipeline.sources.rest.http import Transport
from sync_pipeline.sources.rest.pages import Client
from sync_pipeline.sources.rest.rows import BatchBuilder, DayResponses


class RestRows:
    """An `ArrowRows` that reads an API. Sends no requests before the first day is read."""

    def __init__(self, dataset: Dataset, keys: RestSource, settings: Settings) -> None:
        self._dataset = dataset
        self._keys = keys
        self._base_url = keys.base_url or _base_url(dataset, keys, settings)
        self._credentials = Credentials(dataset, keys, settings, self._base_url)
        self.declared: Mapping[str, str] = keys.columns
        self.schema = text_schema(keys.columns)
        self._batch_builder = BatchBuilder(keys, self.schema)
        self._transport = self._make_transport()
        self._total: int | None = None

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`, one page at a time. Raises SourceError or NotReadyError."""
        self._total = None
        self._transport.start_day(day)
        where = self._transport.where()
        responses = DayResponses(self._keys, where)
        client = Client(self._base_url, self._transport, responses.records)
        complete = False
        try:
            for records in client.pages(self._keys, self._request(day), where):
                batch = self._batch_builder.build(records, where)
                records.clear()  # free the memory before the next page is requested
                yield batch
            responses.finish()
            self._total = responses.total
            complete = True
        finally:
            if not complete:  # a request may still be running in a thread; do not reuse its session
                self.close()
                self._transport = self._make_transport()

    def source_count(self) -> int | None:
        """Return the number of rows that the responses reported, if `count` is set."""
        return self._total

    def cancel(self) -> None:
        self._transport.cancel()

    def close(self) -> None:
        self._transport.close()

    def _make_transport(self) -> Transport:
        return Transport(self._dataset, self._keys, self._base_url, self._credentials)

    def _request(self, day: date) -> dict[str, Any]:
        keys, values = self._keys, values_of(day, self._dataset.zone)
        params = {name: _query_value(value) for name, value in fill(keys.params, values).items()}
        return {"path": fill(keys.path, values), "params": params} | (
            {} if keys.body is None else {"json": fill(keys.body, values)}
        )


def _query_value(value: Any) -> Any:
    """Return a value as sent in a query string, with booleans in lower case."""
    if isinstance(value, list):
        return [_query_value(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def _base_url(dataset: Dataset, keys: RestSource, settings: Settings) -> str:
    """Return the base URL from `base_url_env`. Raises SettingError, without showing the URL."""
    assert keys.base_url_env is not None  # noqa: S101  `base_url` or `base_url_env` is set
    what = "the API's base URL, such as https://api.example.com/v1"
    try:
        return http_url(settings.require(keys.base_url_env, what))
    except ValueError as error:
        raise SettingError(f"dataset {dataset.name}: {keys.base_url_env} {error}") from None
