"""`sync-pipeline replay`, as its users run it."""

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
    """A project whose dataset sets bad rows aside, of which a day has one."""
    with stack_project.project(make_database, tmp_path, {"orders": "single_run"}) as made:
        defs = tmp_path / "team" / "datasets" / "orders" / "defs.yaml"
        text = defs.read_text().replace(
            "{table: orders}", "{table: orders, on_bad_row: quarantine}"
        )
        defs.write_text(text)
        made.spoil("orders", DAY)
        yield made


def test_rows_that_were_set_aside_are_loaded_once_their_cause_is_mended(
    project: Databases,
) -> None:
    given = project.settings.environment
    assert run(given, "replay", "orders").out == "no row of orders is kept\n"
    ended = run(given, "backfill", "orders", DAY, DAY)
    assert ended.code == 0
    assert (
        "rows set aside: 1, of 2025-03-03 (1). They are in sync_rejected_row of the target, with "
        "the reason; mend it, then: sync-pipeline replay orders\n"
    ) in ended.out
    assert len(project.rows_of("orders", DAY)) == ROWS_PER_DAY - 1
    ended = run(given, "replay", "orders")
    assert ended.code == 1
    assert re.search(r"^2025-03-03: 0 rows loaded, 1 kept, row \d+: new row .* violates", ended.out)
    project.target("ALTER TABLE orders DROP CONSTRAINT orders_amount_check")
    ended = run(given, "replay", "orders", "--day", str(DAY))
    assert (ended.code, ended.out) == (0, "2025-03-03: 1 rows loaded, 0 kept\n")
    assert project.differing_days("orders", [DAY]) == []
    (record,) = project.records("SELECT failed_count FROM daily_sync_status WHERE kind = 'day'")
    assert record["failed_count"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ordres"], "there is no dataset 'ordres'; known are: orders"),
        (["orders", "--day", "3 March"], "--day: '3 March' is not a date"),
    ],
)
def test_a_mistyped_replay_is_told_what_is_wrong(
    project: Databases, words: list[str], said: str
) -> None:
    ended = run(project.settings.environment, "replay", *words)
    assert ended.code == 2
    assert said in ended.complaint
