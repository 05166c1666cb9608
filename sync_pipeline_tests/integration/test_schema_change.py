"""If a source's columns change, the sync fails with advice or alters the target table."""

from typing import Any

import pytest

from sync_pipeline.errors import TargetError
from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import Pipeline, run

pytestmark = pytest.mark.integration

DAY = helpers.START
SOURCE = {"url_env": "SYNC_SOURCE_URL", "table": "orders", "day_column": "day"}
ADD_COLUMNS = {"table": "orders", "on_schema_change": "add_columns"}


@pytest.fixture
def pipeline(source_url: str, database_url: str) -> Pipeline:
    """Return a pipeline whose source has been synced once."""
    made = Pipeline(source_url, database_url)
    run(source_url, "CREATE TABLE orders AS SELECT date '2025-10-01' AS day, 1 AS id, 2 AS amount")
    assert sync(made).outcome is Outcome.SUCCESS
    return made


def sync(pipeline: Pipeline, target: dict[str, Any] | None = None) -> Any:
    (done,) = pipeline.sync([DAY], source=SOURCE, target=target or {"table": "orders"})
    return done


def sync_error(pipeline: Pipeline) -> str:
    """Return the error raised by a sync; check that no row was changed."""
    before = run(pipeline.target, "SELECT to_jsonb(orders) FROM orders")
    with pytest.raises(TargetError) as raised:
        sync(pipeline)
    assert run(pipeline.target, "SELECT to_jsonb(orders) FROM orders") == before
    return str(raised.value)


def corrections(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return run(pipeline.target, "SELECT what, dataset, run_id FROM sync_correction ORDER BY id")


def test_a_new_column_is_an_error_with_the_statement_that_adds_it(pipeline: Pipeline) -> None:
    run(pipeline.source, 'ALTER TABLE orders ADD "order" numeric(6,2)')
    assert sync_error(pipeline) == (
        "dataset orders: the source has the new columns order (run: ALTER TABLE "
        '"orders" ADD COLUMN IF NOT EXISTS "order" numeric(6,2)); or set on_schema_change: '
        "add_columns in its defs.yaml"
    )


def test_a_new_column_is_added_and_recorded_as_a_correction(pipeline: Pipeline) -> None:
    run(pipeline.source, 'ALTER TABLE orders ADD "order" numeric(6,2) DEFAULT 1.5')
    assert sync(pipeline, ADD_COLUMNS).outcome is Outcome.SUCCESS
    assert run(pipeline.target, 'SELECT id, "order"::text FROM orders') == [(1, "1.50")]
    assert corrections(pipeline) == [
        ("column order (numeric(6,2)) was added to orders", "orders", "run-1")
    ]
    sync(pipeline, ADD_COLUMNS)
    assert len(corrections(pipeline)) == 1


def test_tracking_works_if_the_table_of_source_columns_is_missing(
    pipeline: Pipeline,
) -> None:
    run(pipeline.target, "DROP TABLE sync_source_columns")
    assert sync(pipeline).attempt is not None


def test_a_dropped_column_is_an_error_until_it_is_also_dropped_in_the_target(
    pipeline: Pipeline,
) -> None:
    run(pipeline.source, "ALTER TABLE orders DROP amount")
    assert "no longer has the columns amount (drop them from orders" in sync_error(pipeline)
    run(pipeline.target, "ALTER TABLE orders DROP amount")
    assert sync(pipeline).outcome is Outcome.SUCCESS


def test_a_dropped_column_is_left_empty_and_recorded_once(pipeline: Pipeline) -> None:
    run(pipeline.source, "ALTER TABLE orders DROP amount")
    for _ in range(2):
        assert sync(pipeline, ADD_COLUMNS).outcome is Outcome.SUCCESS
    assert run(pipeline.target, "SELECT id, amount FROM orders") == [(1, None)]
    assert [row[0] for row in corrections(pipeline)] == [
        "column amount of orders is left empty from now on"
    ]


def test_a_column_that_was_never_in_the_source_is_ignored(pipeline: Pipeline) -> None:
    run(pipeline.target, "ALTER TABLE orders ADD note text")
    assert sync(pipeline).outcome is Outcome.SUCCESS


def test_a_type_that_becomes_wider_than_the_target_type_is_an_error(pipeline: Pipeline) -> None:
    run(pipeline.source, "ALTER TABLE orders ALTER amount TYPE bigint")
    assert "column 'amount' is integer, but must be bigint" in sync_error(pipeline)
    run(pipeline.target, "ALTER TABLE orders ALTER amount TYPE numeric")
    assert sync(pipeline).outcome is Outcome.SUCCESS
