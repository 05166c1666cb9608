"""Old names of keys and settings are rejected, and the error gives the new name."""

from typing import Any

import pytest
from pydantic import ValidationError

from sync_pipeline.config.dataset import DatasetSettings
from sync_pipeline.config.renamed import KEYS
from sync_pipeline.errors import SettingError
from sync_pipeline.settings import RENAMED, Settings

pytestmark = pytest.mark.unit

DATASET: dict[str, Any] = {
    "start_date": "2025-01-01",
    "source": {"url_env": "SHOP_URL", "table": "orders", "day_column": "day"},
    "target": {"table": "orders"},
}
REST: dict[str, Any] = {"type": "rest", "base_url": "https://shop.example"}
OLD_KEYS: dict[str, dict[str, Any]] = {
    "when_day_is_held": {"target": {"table": "orders", "when_day_is_held": "fail"}},
    "most_connections": {"source": {**DATASET["source"], "most_connections": 2}},
    "most_rejected_rows": {"target": {"table": "orders", "most_rejected_rows": 5}},
    "most_page_megabytes": {"source": {**REST, "most_page_megabytes": 1}},
    "again_every_minutes": {"schedule": {"at": "02:30", "again_every_minutes": 30}},
    "again_until": {"schedule": {"at": "02:30", "again_until": "06:00"}},
    "tries": {"retry": {"tries": 3}},
    "first_pause_seconds": {"retry": {"first_pause_seconds": 3}},
    "longest_pause_seconds": {"source": {**REST, "longest_pause_seconds": 3}},
    "warn_when_smaller_than": {"warn_when_smaller_than": 0.5},
}


@pytest.mark.parametrize("old", KEYS)
def test_the_error_for_an_old_yaml_key_gives_the_new_name(old: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatasetSettings.model_validate({**DATASET, **OLD_KEYS[old]})
    (error,) = refused.value.errors()
    assert error["msg"] == f"Value error, key {old!r} was renamed; use {KEYS[old]!r}"


@pytest.mark.parametrize("old", RENAMED)
def test_the_error_for_an_old_setting_gives_the_new_name(old: str) -> None:
    with pytest.raises(SettingError) as refused:
        Settings({old: "postgresql://u:secret@host/db"})
    assert str(refused.value) == f"{old} was renamed; set {RENAMED[old]} instead"


def test_an_old_setting_that_is_blank_is_ignored() -> None:
    Settings(dict.fromkeys(RENAMED, " "))
