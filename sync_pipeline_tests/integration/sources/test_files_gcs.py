"""An unavailable Google Cloud Storage server is not treated as a missing file."""

import pytest

from sync_pipeline.errors import SourceUnreachableError
from sync_pipeline.retry import is_transient
from sync_pipeline.sources.files import store
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration


def test_an_unavailable_server_ends_the_batch_with_a_transient_error(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "GCS_RETRY_SECONDS", 1)
    source = {
        "type": "files",
        "path": "gs://lake/{day}.csv",
        "columns": {"id": "int"},
        "missing_file": "empty",
        "gcs": {"endpoint": "http://127.0.0.1:1", "anonymous": True},
    }
    with pytest.raises(SourceUnreachableError, match="cannot access gs://lake/") as caught:
        syncing.sync(source, [DAY, NEXT_DAY])
    assert is_transient(caught.value)
