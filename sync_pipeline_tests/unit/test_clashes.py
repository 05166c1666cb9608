"""Datasets that would undo each other's work are refused together, with both of their files."""

from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.config.conflicts import refuse_clashes
from sync_pipeline.config.dataset import Dataset
from sync_pipeline.errors import SettingError

pytestmark = pytest.mark.unit

UPSERT: dict[str, Any] = {"write": "upsert", "key": ["id"]}


def one(name: str, table: str, folder: str = "datasets", **target: Any) -> tuple[Dataset, Path]:
    source = {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"}
    given = {"name": name, "start_date": "2025-10-01", "source": source}
    dataset = Dataset.model_validate(given | {"target": {"table": table, **target}})
    return dataset, Path(f"/project/{folder}/{name}/defs.yaml")


def test_two_datasets_of_one_name_are_refused() -> None:
    with pytest.raises(SettingError) as caught:
        refuse_clashes([one("orders", "a"), one("orders", "b", "old")])
    assert str(caught.value) == (
        "two datasets are called orders: /project/datasets/orders/defs.yaml and "
        "/project/old/orders/defs.yaml; rename the folder of one of them"
    )


@pytest.mark.parametrize("table", ["landed", "public.landed"])
@pytest.mark.parametrize("other", [{}, UPSERT], ids=["replace_day", "upsert"])
def test_a_table_whose_days_one_dataset_replaces_is_no_other_ones(
    table: str, other: dict[str, Any]
) -> None:
    with pytest.raises(SettingError) as caught:
        refuse_clashes([one("events", "landed", **other), one("orders", table)])
    assert "/project/datasets/events/defs.yaml" in str(caught.value)
    assert "/project/datasets/orders/defs.yaml" in str(caught.value)
    assert "both load the table" in str(caught.value)
    assert "give one of them another target.table" in str(caught.value)


def test_datasets_that_add_to_one_table_or_have_one_each_stand_side_by_side() -> None:
    refuse_clashes(
        [
            one("events", "landed", **UPSERT),
            one("orders", "landed", write="append_only"),
            one("items", "sales.landed"),
            one("stock", "stock"),
        ]
    )
