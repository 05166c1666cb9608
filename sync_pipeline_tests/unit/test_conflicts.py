"""If two datasets conflict, the error names both of their files."""

from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.config.conflicts import check_conflicts
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError

pytestmark = pytest.mark.unit

UPSERT: dict[str, Any] = {"write": "upsert", "key": ["id"]}


def dataset_of(
    name: str, table: str, folder: str = "datasets", **target: Any
) -> tuple[Dataset, Path]:
    source = {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"}
    values = {"name": name, "start_date": "2025-10-01", "source": source}
    dataset = Dataset.model_validate(values | {"target": {"table": table, **target}})
    return dataset, Path(f"/project/{folder}/{name}/defs.yaml")


def test_two_datasets_with_the_same_name_are_rejected() -> None:
    with pytest.raises(SettingError) as caught:
        check_conflicts([dataset_of("orders", "a"), dataset_of("orders", "b", "old")])
    assert str(caught.value) == (
        "two datasets are named orders: /project/datasets/orders/defs.yaml and "
        "/project/old/orders/defs.yaml; rename the folder of one of them"
    )


@pytest.mark.parametrize("table", ["landed", "public.landed"])
@pytest.mark.parametrize("other", [{}, UPSERT], ids=["replace_day", "upsert"])
def test_a_table_cannot_be_shared_if_one_dataset_replaces_its_days(
    table: str, other: dict[str, Any]
) -> None:
    with pytest.raises(SettingError) as caught:
        check_conflicts([dataset_of("events", "landed", **other), dataset_of("orders", table)])
    assert "/project/datasets/events/defs.yaml" in str(caught.value)
    assert "/project/datasets/orders/defs.yaml" in str(caught.value)
    assert "both write to the table" in str(caught.value)
    assert "use another target.table for one of them" in str(caught.value)


def test_datasets_may_share_a_table_if_none_of_them_replaces_days() -> None:
    check_conflicts(
        [
            dataset_of("events", "landed", **UPSERT),
            dataset_of("orders", "landed", write="append_only"),
            dataset_of("items", "sales.landed"),
            dataset_of("stock", "stock"),
        ]
    )
