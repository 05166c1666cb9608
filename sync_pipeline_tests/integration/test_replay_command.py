"""The `sync-pipeline replay` command."""

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from sync_pipeline_tests import stack_project
from sync_pipeline_tests.command import run
from sync_pipeline_tests.stack_project import ROWS_PER_DAY, Databases

pytestmark = pytest.mark.integration

DAY = date(2025, 3, 3)


@pytest.fixture
def project(make_database: Callable[[str | None], str], tmp_path: Path) -> Iterator[Databases]:
    """Yield a project with a dataset that quarantines bad rows and whose source has one."""
    with stack_project.project(make_database, tmp_path, {"orders": "single_run"}) as made:
        defs = tmp_path / "team" / "datasets" / "orders" / "defs.yaml"
        text = defs.read_text().replace(
            "{table: orders}", "{table: orders, on_bad_row: quarantine}"
        )
        defs.write_text(text)
        made.spoil("orders", DAY)
        yield made


def test_quarantined_rows_are_loaded_after_their_cause_is_fixed(
    project: Databases,
) -> None:
    environment = project.settings.environment
    assert run(environment, "replay", "orders").out == "no quarantined rows in orders\n"
    ended = run(environment, "backfill", "orders", DAY, DAY)
    assert ended.code == 0
    assert (
        "quarantined rows: 1, from 2025-03-03 (1). They are in sync_rejected_row in the target, "
        "with the reason; fix the cause, then run: sync-pipeline replay orders\n"
    ) in ended.out
    assert len(project.rows_of("orders", DAY)) == ROWS_PER_DAY - 1
    ended = run(environment, "replay", "orders")
    assert ended.code == 1
    assert re.search(
        r"^2025-03-03: 0 rows loaded, 1 still quarantined, row \d+: new row .* violates",
        ended.out,
    )
    project.target("ALTER TABLE orders DROP CONSTRAINT orders_amount_check")
    ended = run(environment, "replay", "orders", "--day", str(DAY))
    assert (ended.code, ended.out) == (0, "2025-03-03: 1 rows loaded, 0 still quarantined\n")
    assert project.differing_days("orders", [DAY]) == []
    (record,) = project.records("SELECT failed_count FROM daily_sync_status WHERE kind = 'day'")
    assert record["failed_count"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ordres"], "dataset 'ordres' not found; known datasets: orders"),
        (["orders", "--day", "3 March"], "--day: '3 March' is not a date"),
    ],
)
def test_a_mistyped_argument_is_rejected(
    project: Databases, arguments: list[str], message: str
) -> None:
    ended = run(project.settings.environment, "replay", *arguments)
    assert ended.code == 2
    assert message in ended.complaint
