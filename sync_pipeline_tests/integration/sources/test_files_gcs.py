"""A Google Cloud Storage that is away is not a missing file."""

import pytest

from sync_pipeline.errors import SourceUnreachableError
from sync_pipeline.retry import is_transient
from sync_pipeline.sources.files import store
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY, Syncing

pytestmark = pytest.mark.integration


def test_a_server_that_is_away_ends_the_batch_and_is_tried_again(
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
    with pytest.raises(SourceUnreachableError, match="cannot look at gs://lake/") as caught:
        syncing.sync(source, [DAY, NEXT_DAY])
    assert is_transient(caught.value)
