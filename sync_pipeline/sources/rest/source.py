"""The `rest` source: reads JSON over HTTP, page by page.

Keeps one page in memory at a time. Does not send requests (see `http.py`), find the next page (see
`pages.py`) or find the rows in a response (see `rows.py`).
"""

from collections.abc import Generator, Mapping
from datetime import date

import httpx
import pyarrow as pa

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import RestSource
from sync_pipeline.config.sources.placeholders import values_of
from sync_pipeline.config.sources.rest_url import http_url
from sync_pipeline.errors import SettingError, SourceError
from sync_pipeline.settings import Settings
from sync_pipeline.sources.arrow.declared import text_schema, to_iso_dates
from sync_pipeline.sources.rest.auth import Credentials
from sync_pipeline.sources.rest.http import Transport
from sync_pipeline.sources.rest.pages import PageRequest, first_page, next_page
from sync_pipeline.sources.rest.rows import BatchBuilder, DayResponses


class RestRows:
    """An `ArrowRows` that reads an API. Sends no requests before the first day is read."""

    def __init__(self, dataset: Dataset, keys: RestSource, settings: Settings) -> None:
        self._dataset = dataset
        self._keys = keys
        self._base_url = _base_url(dataset, keys, settings)
        self.declared: Mapping[str, str] = keys.columns
        self.schema = text_schema(keys.columns)
        self._batch_builder = BatchBuilder(keys, self.schema)
        self._total: int | None = None
        credentials = Credentials(dataset, keys, settings, self._base_url)
        self._transport = Transport(dataset, keys, self._base_url, credentials)

    def read(self, day: date) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of `day`, one page at a time. Raises SourceError or NotReadyError."""
        keys = self._keys
        self._total = None
        self._transport.start_day(day)
        where = self._transport.where()
        responses = DayResponses(keys, where)
        values = values_of(day, self._dataset.zone)
        request: PageRequest | None = first_page(keys, str(self._base_url), values)
        pages = 0
        while request is not None:
            pages += 1
            if pages > keys.max_pages:
                raise SourceError(
                    f"{where}the day has more than {keys.max_pages:,} pages. Correct 'paginator' "
                    "in its defs.yaml if the server returns pages endlessly; otherwise, increase "
                    "'max_pages'"
                )
            page = self._transport.send(request)
            rows = responses.records(page.document)
            request = next_page(keys, request, page, rows, responses.total, where)
            batch = self._batch_builder.build(rows, where)
            if keys.date_format:
                batch = to_iso_dates(batch, keys.day_column, keys.date_format, where.rstrip())
            del page, rows  # free the memory before the next page is requested
            yield batch
        responses.finish()
        self._total = responses.total

    def source_count(self) -> int | None:
        """Return the number of rows that the responses reported, if `count` is set."""
        return self._total

    def cancel(self) -> None:
        self._transport.cancel()

    def close(self) -> None:
        self._transport.close()


def _base_url(dataset: Dataset, keys: RestSource, settings: Settings) -> httpx.URL:
    """Return the base URL. Raises SettingError, without showing the URL."""
    what = "the API's base URL, such as https://api.example.com/v1"
    try:
        return httpx.URL(keys.base_url or http_url(settings.require(keys.base_url_env or "", what)))
    except httpx.InvalidURL:
        text = "must be a valid URL, such as https://api.example.com/v1"
    except ValueError as error:
        text = str(error)
    raise SettingError(f"dataset {dataset.name}: {keys.base_url_env or 'base_url'} {text}")
