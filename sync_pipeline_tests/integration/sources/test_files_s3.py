"""Files are read from S3 just as from a local disk, and an unavailable server is not treated as a
missing file."""

import socket
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from sync_pipeline.config.dataset import DatasetSettings
from sync_pipeline.errors import SettingError, SourceUnreachableError
from sync_pipeline.retry import is_transient
from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import CopyFormat
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration.sources import files_page
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration

SECRET = "wJalr-secret-of-the-lake"  # noqa: S105  used only in tests


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Yield the URL of a local S3 server that uses HTTP."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def lake(endpoint: str, syncing: Syncing) -> Iterator[fs.FileSystem]:
    """Create a bucket `lake` for one test, and put its access keys into `syncing.settings`."""
    syncing.settings |= {"LAKE_KEY": "AKIA-of-the-lake", "LAKE_SECRET": SECRET}
    system = fs.S3FileSystem(
        access_key="AKIA-of-the-lake",
        secret_key=SECRET,
        scheme="http",
        endpoint_override=endpoint.removeprefix("http://"),
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )
    system.create_dir("lake")
    yield system
    system.delete_dir("lake")


def keys(endpoint: str, path: str, **more: Any) -> dict[str, Any]:
    s3 = {"endpoint": endpoint, "access_key_env": "LAKE_KEY", "secret_key_env": "LAKE_SECRET"}
    return {"type": "files", "path": f"s3://lake/{path}", "s3": s3} | more


def put(lake: fs.FileSystem, path: str, data: str) -> None:
    with lake.open_output_stream(f"lake/{path}", compression="detect") as out:
        out.write(data.encode())


def test_csv_files_in_a_bucket_are_loaded(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem
) -> None:
    put(lake, "in/2025/10/01/a.csv.gz", "id\n1\n")
    put(lake, "in/2025/10/01/b.csv.gz", "id\n2\n")
    put(lake, "in/2025/10/02/a.csv.gz", "id\n3\n")
    source = keys(endpoint, "in/{day:%Y/%m/%d}/*.csv.gz", columns={"id": "int"})
    first, second = syncing.sync(source, [DAY, NEXT_DAY])
    assert (first.error, second.error) == (None, None)
    assert syncing.rows("SELECT sync_date, id FROM landed ORDER BY id") == [
        (DAY, 1),
        (DAY, 2),
        (NEXT_DAY, 3),
    ]


def test_parquet_files_in_a_bucket_are_loaded(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem
) -> None:
    for day in (DAY, NEXT_DAY):
        table = pa.table({"id": range(50_000), "day": [day] * 50_000})
        pq.write_table(table, f"lake/in/{day:%Y%m%d}.parquet", filesystem=lake)
    source = keys(endpoint, "in/*.parquet", day_column="day")
    (done,) = syncing.sync(source, [NEXT_DAY])
    assert done.error is None
    assert syncing.rows("SELECT day, count(*) FROM landed GROUP BY 1") == [(NEXT_DAY, 50_000)]


def test_a_day_without_its_file_or_marker_in_the_bucket_is_not_ready(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem
) -> None:
    source = keys(endpoint, "in/{day}.csv", columns={"id": "int"}, ready={"marker": "{file}.done"})
    (done,) = syncing.sync(source)
    assert "is not ready in s3://lake/in/{day}.csv: no file found" in (done.error or "")
    put(lake, "in/2025-10-01.csv", "id\n1\n")
    (done,) = syncing.sync(source)
    assert "the ready marker s3://lake/in/2025-10-01.csv.done for 2025-10-01.csv" in (
        done.error or ""
    )
    put(lake, "in/2025-10-01.csv.done", "")
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS


def test_an_object_is_not_read_before_settle_seconds(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem
) -> None:
    put(lake, "in/2025-10-01.csv", "id\n1\n")
    source = keys(endpoint, "in/{day}.csv", columns={"id": "int"})
    (done,) = syncing.sync(source | {"ready": {"settle_seconds": 3600}})
    assert "it must be unchanged for 3600 s" in (done.error or "")
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS


@pytest.mark.parametrize("path", ["{day}.csv", "{day}*.csv"])
def test_a_missing_bucket_is_not_an_empty_day(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem, path: str
) -> None:
    source = keys(endpoint, path, columns={"id": "int"}, missing_file="empty")
    (done,) = syncing.sync(source)
    assert done.outcome is Outcome.SUCCESS
    (done,) = syncing.sync(source | {"path": f"s3://laek/{path}"})
    assert done.outcome is Outcome.FAILED
    assert "s3://laek" in (done.error or "")


def test_an_unavailable_server_ends_the_batch_with_a_transient_error(
    syncing: Syncing, lake: fs.FileSystem
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening, so connections are refused
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        source = keys(endpoint, "{day}.csv", columns={"id": "int"})
        with pytest.raises(SourceUnreachableError, match="cannot access s3://lake/") as caught:
            syncing.sync(source, [DAY, NEXT_DAY])
    assert is_transient(caught.value)
    assert SECRET not in str(caught.value)
    assert syncing.rows("SELECT status FROM daily_sync_status WHERE kind = 'day'") == [("failed",)]


def test_errors_do_not_contain_secrets(syncing: Syncing, lake: fs.FileSystem) -> None:
    # The secret is a word in the library's error message, so the test can see that it is redacted.
    values = {"LAKE_KEY": "AKIA", "LAKE_SECRET": "bucket"}
    dataset = syncing.dataset(keys("http://127.0.0.1:1", "{day}.csv", columns={"id": "int"}))
    source = open_source(dataset, Settings(values))
    with pytest.raises(SourceUnreachableError, match=r"in \*\*\* 'lake'"):
        source.read_day(DAY, BytesIO(), CopyFormat.TEXT)


def test_a_secret_that_is_not_set_is_reported(syncing: Syncing, endpoint: str) -> None:
    with pytest.raises(SettingError, match="LAKE_KEY is not set; set it to the access key"):
        syncing.sync(keys(endpoint, "in/{day}.csv", columns={"id": "int"}))


def test_the_example_in_the_document_runs(
    syncing: Syncing, endpoint: str, lake: fs.FileSystem
) -> None:
    example = files_page.ON_S3
    assert example["type"] == "sync_pipeline.DailySync"
    DatasetSettings.model_validate(example["attributes"])
    syncing.settings |= {"SHOP_ACCESS_KEY": "AKIA-of-the-shop", "SHOP_SECRET_KEY": SECRET}
    put(
        lake,
        "orders/2025/10/01/part-1.csv.gz",
        "order_id;placed_at;amount;note\n7;2025-10-01T00:00:00+08:00;9.5;NULL\n",
    )
    put(lake, "orders/2025/10/01/_SUCCESS", "")
    attributes = dict(example["attributes"])
    source = attributes.pop("source")
    path = source["path"].replace("s3://shop-exports", "s3://lake")
    source = source | {"path": path, "s3": source["s3"] | {"endpoint": endpoint}}
    (done,) = syncing.sync(source, **attributes)
    assert done.error is None
    assert syncing.rows(
        "SELECT order_id, placed_at AT TIME ZONE 'Asia/Shanghai', amount, note FROM orders"
    ) == [(7, datetime(2025, 10, 1), Decimal("9.50"), None)]  # noqa: DTZ001
