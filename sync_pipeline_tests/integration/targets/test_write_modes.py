"""The write modes: `replace_day`, `upsert` and `append_only`, with and without a key."""

import re
from datetime import date
from typing import Any

import pytest
import yaml

from sync_pipeline.errors import SettingError, TargetError
from sync_pipeline.settings import PROJECT_ROOT
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.sync.replay import ReplayResult
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY
from sync_pipeline_tests.integration.targets.conftest import User, Writing, row

pytestmark = pytest.mark.integration

UPSERT: dict[str, Any] = {"write": "upsert", "key": ["id"]}
APPEND: dict[str, Any] = {"write": "append_only", "key": ["id"]}
APPEND_DAYS: dict[str, Any] = {"write": "append_only"}
QUARANTINE: dict[str, Any] = {"on_bad_row": "quarantine"}
KEYED = pytest.mark.parametrize("mode", [UPSERT, APPEND], ids=["upsert", "append_only"])


def run(writing: Writing, *statements: str) -> None:
    helpers.run(writing.syncing.url, *statements)


def failure(result: DayResult) -> str:
    assert result.outcome is Outcome.FAILED
    return result.error or ""


def test_upsert_updates_existing_rows_inserts_new_ones_and_keeps_rows_deleted_at_the_source(
    writing: Writing,
) -> None:
    writing.give(DAY, row(1, "a"), row(2, "b"), row(3, "c"))
    writing.sync(DAY, DAY, **UPSERT)
    assert writing.landed() == [(1, "a", DAY), (2, "b", DAY), (3, "c", DAY)]
    writing.give(DAY, row(2, "changed"), row(3, None), row(4, "new"))
    writing.sync(DAY, **UPSERT)
    assert writing.landed() == [(1, "a", DAY), (2, "changed", DAY), (3, None, DAY), (4, "new", DAY)]
    assert writing.counts(DAY) == (3, 3, 0)


def test_a_row_whose_key_exists_on_another_day_moves_to_this_day(writing: Writing) -> None:
    writing.give(DAY, row(1, "a"), row(2, "b"))
    writing.give(NEXT_DAY, row(2, "moved"))
    writing.sync(DAY, NEXT_DAY, **UPSERT)
    assert writing.landed() == [(1, "a", DAY), (2, "moved", NEXT_DAY)]
    writing.sync(DAY, **UPSERT)
    assert writing.landed() == [(1, "a", DAY), (2, "b", DAY)]


def test_a_row_without_columns_outside_the_key_is_counted_each_time(writing: Writing) -> None:
    writing.columns = {"id": "bigint"}
    writing.give(DAY, {"id": 1}, {"id": 2})
    key = {"write": "upsert", "key": ["sync_date", "id"]}
    for _ in range(2):
        assert writing.one(DAY, **key).outcome is Outcome.SUCCESS
        assert writing.counts(DAY) == (2, 2, 0)
    assert writing.landed("id, sync_date") == [(1, DAY), (2, DAY)]


def test_append_only_with_a_key_keeps_existing_rows_and_counts_them_as_loaded(
    writing: Writing,
) -> None:
    writing.give(DAY, row(1, "a"), row(2, "b"))
    writing.sync(DAY, **APPEND)
    writing.give(DAY, row(2, "changed"), row(3, "new"))
    writing.give(NEXT_DAY, row(1, "another day's"))
    writing.sync(DAY, NEXT_DAY, **APPEND)
    assert writing.landed() == [(1, "a", DAY), (2, "b", DAY), (3, "new", DAY)]
    assert writing.counts(DAY) == (2, 2, 0)
    assert writing.counts(NEXT_DAY) == (1, 1, 0)


def test_append_only_without_a_key_fails_a_day_that_has_rows(writing: Writing) -> None:
    writing.give(NEXT_DAY, row(3, "c"))
    assert writing.one(DAY, **APPEND_DAYS).outcome is Outcome.SUCCESS
    writing.give(DAY, row(1, "a"), row(1, "a"))
    writing.sync(DAY, NEXT_DAY, **APPEND_DAYS)
    writing.give(DAY, row(2, "b"))
    error = failure(writing.one(DAY, **APPEND_DAYS))
    assert error.startswith("dataset landed: landed already has 2 rows for 2025-10-01, and append_")
    assert "set target.key to the columns" in error
    assert "\n" not in error
    assert writing.landed() == [(1, "a", DAY), (1, "a", DAY), (3, "c", NEXT_DAY)]


def test_a_new_table_has_the_key_as_its_primary_key(writing: Writing) -> None:
    writing.give(DAY, row(1))
    writing.sync(DAY, write="upsert", key=["sync_date", "id"])
    found = writing.syncing.rows(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'landed'::regclass "
        "AND contype = 'p'"
    )
    assert found == [("PRIMARY KEY (sync_date, id)",)]


@pytest.mark.parametrize(
    "index",
    [
        "",
        "CREATE INDEX ON landed (id)",
        "CREATE UNIQUE INDEX ON landed (id) WHERE id > 0",
        "CREATE UNIQUE INDEX ON landed (abs(id))",
        "CREATE UNIQUE INDEX ON landed (id, sync_date)",
        "ALTER TABLE landed ADD UNIQUE (id) DEFERRABLE",
    ],
)
@KEYED
def test_a_table_without_a_unique_index_on_the_key_is_rejected_with_the_statement_to_run(
    writing: Writing, mode: dict[str, Any], index: str
) -> None:
    run(writing, "CREATE TABLE landed (id bigint, note text, sync_date date)", index or "SELECT")
    writing.give(DAY, row(1))
    with pytest.raises(TargetError, match=r"no unique index on its key|is DEFERRABLE") as raised:
        writing.sync(DAY, **mode)
    run(writing, str(raised.value).rpartition("run: ")[2])
    assert writing.one(DAY, **mode).outcome is Outcome.SUCCESS


def test_a_unique_index_may_have_its_columns_in_any_order(writing: Writing) -> None:
    run(
        writing,
        "CREATE TABLE landed (id bigint, note text, sync_date date)",
        "CREATE UNIQUE INDEX ON landed (note, id) INCLUDE (sync_date)",
    )
    writing.give(DAY, row(1, "a"))
    results = writing.sync(DAY, write="upsert", key=["id", "note"])
    assert [result.error for result in results] == [None]


def test_an_error_names_a_key_column_that_the_source_does_not_have(writing: Writing) -> None:
    with pytest.raises(
        SettingError, match=r"target\.key contains 'ID', which is not a column of the source"
    ):
        writing.sync(DAY, write="upsert", key=["ID"])


@KEYED
def test_two_rows_with_the_same_key_fail_the_day_and_the_error_names_the_key(
    writing: Writing, mode: dict[str, Any]
) -> None:
    writing.give(DAY, row(1, "old"))
    writing.sync(DAY, **mode)
    writing.give(DAY, row(1, "new"), row(7, "a"), row(8), row(7, "b"))
    error = failure(writing.one(DAY, **mode))
    assert "Key (id)=(7) is duplicated" in error
    assert "target.key (id) must be unique and not NULL in the rows of 2025-10-01" in error
    assert writing.landed() == [(1, "old", DAY)]


@KEYED
def test_a_null_key_fails_the_day(writing: Writing, mode: dict[str, Any]) -> None:
    run(writing, "CREATE TABLE landed (id bigint UNIQUE, note text, sync_date date)")
    writing.give(DAY, row(1), {"note": "no key"})
    error = failure(writing.one(DAY, **mode))
    assert 'column "id"' in error
    assert "target.key (id) must be unique and not NULL" in error
    assert writing.landed() == []


@KEYED
def test_all_kinds_of_bad_rows_are_quarantined_and_the_others_are_loaded(
    writing: Writing, mode: dict[str, Any]
) -> None:
    run(
        writing,
        "CREATE TABLE shop (name text PRIMARY KEY)",
        "INSERT INTO shop VALUES ('good')",
        "CREATE TABLE landed (id bigint UNIQUE, note text REFERENCES shop CHECK (note <> 'worse'), "
        "sync_date date, at timestamptz NOT NULL DEFAULT now())",
    )
    many = [row(number, "good") for number in range(10, 2500)]
    many[5] = row(15, "bad\tone\\")
    many[1500] = row(1510, "worse")
    many[1501] = row(15_000_000_000, "good", id="no number")
    many += [{"note": "good"}, row(10, "good")]
    many.reverse()
    writing.give(DAY, *many)
    assert writing.one(DAY, **mode, **QUARANTINE).error is None
    assert writing.counts(DAY) == (2492, 2487, 5)
    assert writing.syncing.rows("SELECT count(*), count(at) FROM landed") == [(2487, 2487)]
    found = [(number, key, error.partition(":")[0]) for number, key, error in writing.rejected()]
    unique = 'duplicate key value violates unique constraint "target.key"'
    assert found == [
        (
            2,
            None,
            'null value in column "id" of relation "the rows of the day" violates not-null '
            "constraint",
        ),
        (991, "no number", "invalid input syntax for type bigint"),
        (
            992,
            "1510",
            'new row for relation "landed" violates check constraint "landed_note_check"',
        ),
        (
            2487,
            "15",
            'insert or update on table "landed" violates foreign key constraint "landed_note_fkey"',
        ),
        (2492, "10", unique),
    ]
    ((values,),) = writing.syncing.rows(
        "SELECT row_values FROM sync_rejected_row WHERE row_number = 2487"
    )
    assert values == {"id": "15", "note": "bad\tone\\", "sync_date": "2025-10-01"}


@KEYED
def test_quarantined_rows_are_replayed_in_the_datasets_write_mode(
    writing: Writing, mode: dict[str, Any]
) -> None:
    run(
        writing,
        "CREATE TABLE landed (id bigint UNIQUE, note text CHECK (note <> 'bad'), sync_date date)",
        "INSERT INTO landed VALUES (1, 'old', '2025-09-01')",
    )
    writing.give(DAY, row(1, "bad"), row(2, "bad"), row(3, "fine"), {"note": "no key"})
    writing.sync(DAY, **mode, **QUARANTINE)
    run(writing, "ALTER TABLE landed DROP CONSTRAINT landed_note_check")
    assert writing.replay(**mode, **QUARANTINE) == [
        ReplayResult(DAY, 2, 1, "row 4: key column 'id' is NULL")
    ]
    first = (1, "bad", DAY) if mode is UPSERT else (1, "old", date(2025, 9, 1))
    assert writing.landed() == [first, (2, "bad", DAY), (3, "fine", DAY)]
    assert writing.counts(DAY) == (4, 3, 1)


def test_append_only_without_a_key_quarantines_bad_rows(writing: Writing) -> None:
    run(writing, "CREATE TABLE landed (id bigint, note text CHECK (note <> 'bad'), sync_date date)")
    writing.give(DAY, row(1, "bad"), row(2, "fine"))
    assert writing.one(DAY, **APPEND_DAYS, **QUARANTINE).error is None
    assert writing.landed() == [(2, "fine", DAY)]
    assert writing.counts(DAY) == (2, 1, 1)


@KEYED
@pytest.mark.parametrize("bad_rows", [{}, QUARANTINE], ids=["fail", "quarantine"])
def test_a_day_fails_if_a_trigger_drops_rows(
    writing: Writing, mode: dict[str, Any], bad_rows: dict[str, Any]
) -> None:
    run(
        writing,
        "CREATE TABLE landed (id bigint PRIMARY KEY, note text, sync_date date)",
        "INSERT INTO landed VALUES (1, 'old', '2025-10-01')",
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER drop_it BEFORE INSERT ON landed FOR EACH ROW EXECUTE FUNCTION drop_it()",
    )
    writing.give(DAY, row(1, "new"), row(2), row(3))
    error = failure(writing.one(DAY, **mode, **bad_rows))
    assert "the source returned 3 rows for 2025-10-01, but landed stored 2" in error
    assert writing.landed() == [(1, "old", DAY)]


@pytest.mark.parametrize(
    ("mode", "grants"),
    [(UPSERT, "SELECT, INSERT, UPDATE"), (APPEND, "SELECT, INSERT"), (APPEND_DAYS, "INSERT")],
    ids=["upsert", "append_only", "append_only without a key"],
)
def test_a_user_needs_only_the_privileges_for_the_write_mode(
    writing: Writing, user: User, mode: dict[str, Any], grants: str
) -> None:
    """Modes that only insert or update do not need the DELETE privilege."""
    run(
        writing,
        "CREATE TABLE landed (id bigint PRIMARY KEY, note text, sync_date date)",
        "CREATE INDEX ON landed (sync_date)",
        f"GRANT SELECT (sync_date) ON landed TO {user.name}",
    )
    theirs = user.of(writing)
    theirs.give(DAY, row(1))
    with pytest.raises(
        TargetError, match="lacks permission to write to the table landed; run: "
    ) as raised:
        theirs.sync(DAY, **mode)
    granted = str(raised.value).rpartition("run: ")[2]
    assert granted == f'GRANT {grants} ON "landed" TO "{user.name}"'
    run(writing, granted)
    assert theirs.one(DAY, **mode).error is None


def test_a_user_without_the_temporary_privilege_gets_the_grant_to_run(
    writing: Writing, user: User
) -> None:
    run(
        writing,
        "CREATE TABLE landed (id bigint PRIMARY KEY, note text, sync_date date)",
        f"GRANT ALL ON landed TO {user.name}",
        "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM public', "
        "current_database()); END $$",
    )
    theirs = user.of(writing)
    theirs.give(DAY, row(1))
    with pytest.raises(
        TargetError, match="lacks permission to create the temporary table"
    ) as raised:
        theirs.sync(DAY, **UPSERT)
    run(writing, str(raised.value).rpartition("run: ")[2])
    assert theirs.one(DAY, **UPSERT).error is None


def test_the_example_in_the_documentation_runs(writing: Writing, source_url: str) -> None:
    page = (PROJECT_ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    given = yaml.safe_load(example)["attributes"]
    helpers.run(
        source_url,
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders (order_id int, state text, updated_at timestamptz)",
        "INSERT INTO sales.orders VALUES (1, 'new', '2025-10-01 03:00Z'), "
        "(2, 'new', '2025-10-01 03:00Z')",
    )
    writing.syncing.settings["SHOP_URL"] = source_url
    source, changes = given.pop("source"), given
    assert [one.error for one in writing.syncing.sync(source, [DAY], **changes)] == [None]
    helpers.run(
        source_url,
        "UPDATE sales.orders SET state = 'paid', updated_at = '2025-10-02 03:00Z' "
        "WHERE order_id = 1",
    )
    assert [one.error for one in writing.syncing.sync(source, [NEXT_DAY], **changes)] == [None]
    assert writing.syncing.rows("SELECT order_id, state FROM orders ORDER BY 1") == [
        (1, "paid"),
        (2, "new"),
    ]
