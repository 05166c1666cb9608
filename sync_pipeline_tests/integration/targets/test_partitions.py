"""A target partitioned by day gets a new partition only for a day that no partition covers."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.settings import Settings
from sync_pipeline.sources import open_source
from sync_pipeline.sources.base import Column, DayType, Shape
from sync_pipeline.sync.days import Outcome
from sync_pipeline.targets import open_target
from sync_pipeline.targets.partitions import Partitions
from sync_pipeline.targets.postgres import Target
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import wait_until_blocked
from sync_pipeline_tests.integration.sources.conftest import DAY, NEXT_DAY
from sync_pipeline_tests.integration.targets.conftest import User, Writing, errors, row

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

BY_DAY = "CREATE TABLE landed (id bigint, note text, sync_date date) PARTITION BY RANGE (sync_date)"
MODES: list[dict[str, Any]] = [
    {},
    {"write": "upsert", "key": ["id", "sync_date"]},
    {"write": "append_only", "key": ["sync_date", "id"]},
    {"write": "append_only"},
]
EACH_MODE = pytest.mark.parametrize(
    "mode", MODES, ids=["replace_day", "upsert", "append_only", "append_only without a key"]
)
OCTOBER = "FOR VALUES FROM ('2025-10-01') TO ('2025-11-01')"


def run(writing: Writing, *statements: str) -> list[tuple[Any, ...]]:
    return helpers.run(writing.syncing.url, *statements)


def placed(writing: Writing) -> list[tuple[str, int]]:
    """Return each partition that contains rows, with its row count."""
    return run(
        writing, "SELECT tableoid::regclass::text, count(*) FROM landed GROUP BY 1 ORDER BY 1"
    )


def partitions(writing: Writing, of: str = "landed") -> dict[str, str]:
    return dict(
        run(
            writing,
            "SET TimeZone = 'UTC'",
            "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, c.oid) FROM pg_inherits "
            f"JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '{of}'::regclass ORDER BY 1",
        )
    )


def failure(writing: Writing, day: date, **target: Any) -> str:
    result = writing.one(day, **target)
    assert result.outcome is Outcome.FAILED
    assert "\n" not in (result.error or "")
    return result.error or ""


@EACH_MODE
def test_a_day_that_no_partition_covers_gets_a_new_partition(
    writing: Writing, mode: dict[str, Any]
) -> None:
    run(
        writing,
        BY_DAY,
        "ALTER TABLE landed ADD at timestamptz NOT NULL DEFAULT now(), ADD CHECK (id > 0), "
        "ADD PRIMARY KEY (id, sync_date), ADD twice bigint GENERATED ALWAYS AS (id * 2) STORED",
        "CREATE INDEX ON landed (note)",
    )
    writing.give(DAY, row(1), row(2))
    writing.give(NEXT_DAY, row(1))
    assert errors(writing.sync(DAY, NEXT_DAY, **mode)) == []
    assert partitions(writing) == {
        "landed_2025_10_01": "FOR VALUES FROM ('2025-10-01') TO ('2025-10-02')",
        "landed_2025_10_02": "FOR VALUES FROM ('2025-10-02') TO ('2025-10-03')",
    }
    assert placed(writing) == [("landed_2025_10_01", 2), ("landed_2025_10_02", 1)]
    # The partition has two indexes, each attached to an index of the parent.
    assert run(
        writing,
        "SELECT count(*), count(inhparent) FROM pg_index LEFT JOIN pg_inherits "
        "ON inhrelid = indexrelid WHERE indrelid = 'landed_2025_10_01'::regclass",
    ) == [(2, 2)]
    checks = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = "
    assert run(writing, f"{checks} 'landed_2025_10_01'::regclass") == [("landed_id_check",)]


def test_a_new_partition_is_used_by_the_next_sync_of_the_day(writing: Writing) -> None:
    run(writing, BY_DAY)
    writing.give(DAY, row(1), row(2))
    writing.sync(DAY)
    oid = "SELECT 'landed_2025_10_01'::regclass::oid"
    before = run(writing, oid)
    writing.give(DAY, row(3))
    writing.sync(DAY)
    assert run(writing, oid) == before
    assert placed(writing) == [("landed_2025_10_01", 1)]


def test_a_new_partition_is_attached_without_scanning_its_rows(writing: Writing) -> None:
    """The server logs at level DEBUG1 that the CHECK constraint implies the partition bound."""
    run(writing, BY_DAY)
    writing.give(DAY, row(1))
    shape = Shape((Column("sync_date", "date"),), "sync_date", DayType.DATE)
    dataset = writing.syncing.dataset(writing.source)
    target = open_target(dataset, Settings({"SYNC_DATABASE_URL": writing.syncing.url}))
    with closing(target) as connection, connection.cursor() as cursor:
        partition = Partitions(dataset, shape).create_for(cursor, DAY)
        assert partition is not None
        cursor.execute("SET client_min_messages = debug1")
        partition.finish(cursor, rows=1)
        assert any("is implied by existing constraints" in notice for notice in connection.notices)


def test_a_day_without_rows_gets_no_partition(writing: Writing) -> None:
    run(writing, BY_DAY)
    assert writing.one(DAY).error is None
    assert partitions(writing) == {}
    assert run(writing, "SELECT to_regclass('landed_2025_10_01')") == [(None,)]


def test_a_day_that_fails_leaves_no_partition(writing: Writing) -> None:
    run(writing, BY_DAY, "ALTER TABLE landed ADD CHECK (id > 0)")
    writing.give(DAY, row(1), row(-1))
    assert "landed_id_check" in failure(writing, DAY)
    assert partitions(writing) == {}


@EACH_MODE
def test_bad_rows_in_a_new_partition_are_quarantined(
    writing: Writing, mode: dict[str, Any]
) -> None:
    run(
        writing,
        BY_DAY,
        "ALTER TABLE landed ADD CHECK (id > 0), ADD UNIQUE (sync_date, id)",
        "CREATE TABLE note (note text PRIMARY KEY)",
        "INSERT INTO note VALUES ('')",
        "ALTER TABLE landed ADD FOREIGN KEY (note) REFERENCES note",
    )
    writing.give(DAY, row(1), row(-1), row(3, "unknown"), row(1), row(2))
    assert writing.one(DAY, on_bad_row="quarantine", **mode).error is None
    assert writing.counts(DAY) == (5, 2, 3)
    assert [number for number, _, _ in writing.rejected()] == [2, 3, 4]
    assert placed(writing) == [("landed_2025_10_01", 2)]


def test_a_day_with_only_bad_rows_quarantines_them(writing: Writing) -> None:
    run(writing, BY_DAY, "ALTER TABLE landed ADD CHECK (id > 0)")
    writing.give(DAY, row(-1))
    assert writing.one(DAY, on_bad_row="quarantine").error is None
    assert len(writing.rejected()) == 1
    run(writing, "ALTER TABLE landed DROP CONSTRAINT landed_id_check")
    assert [one.loaded for one in writing.replay()] == [1]
    assert placed(writing) == [("landed_2025_10_01", 1)]


@EACH_MODE
@pytest.mark.parametrize("bound", [OCTOBER, "DEFAULT"], ids=["month", "default"])
def test_a_partition_that_covers_more_than_the_day_is_used(
    writing: Writing, mode: dict[str, Any], bound: str
) -> None:
    run(
        writing,
        BY_DAY,
        "ALTER TABLE landed ADD UNIQUE (sync_date, id)",
        f"CREATE TABLE wide PARTITION OF landed {bound}",
    )
    writing.give(DAY, row(1), row(2))
    writing.give(NEXT_DAY, row(1))
    assert errors(writing.sync(DAY, NEXT_DAY, **mode)) == []
    assert placed(writing) == [("wide", 3)]
    if "write" not in mode:
        writing.give(DAY, row(4))
        writing.sync(DAY)
        assert writing.landed("id, sync_date") == [(1, NEXT_DAY), (4, DAY)]


def test_unbounded_partitions_are_used(writing: Writing) -> None:
    run(
        writing,
        BY_DAY,
        "CREATE TABLE old PARTITION OF landed FOR VALUES FROM (MINVALUE) TO ('2025-10-01')",
        "CREATE TABLE new PARTITION OF landed FOR VALUES FROM ('2025-10-02') TO (MAXVALUE)",
    )
    days = [DAY - timedelta(days=1), DAY, NEXT_DAY]
    for day in days:
        writing.give(day, row(1))
    assert errors(writing.sync(*days)) == []
    assert placed(writing) == [("landed_2025_10_01", 1), ("new", 1), ("old", 1)]


def test_a_subpartitioned_partition_gets_the_new_partition(writing: Writing) -> None:
    run(
        writing,
        BY_DAY,
        f"CREATE TABLE october PARTITION OF landed {OCTOBER} PARTITION BY RANGE (sync_date)",
    )
    writing.give(DAY, row(1))
    assert errors(writing.sync(DAY, DAY)) == []
    assert list(partitions(writing, "october")) == ["october_2025_10_01"]
    assert placed(writing) == [("october_2025_10_01", 1)]


def test_a_partition_that_is_partitioned_by_another_column_keeps_its_partitions(
    writing: Writing,
) -> None:
    run(
        writing,
        BY_DAY,
        f"CREATE TABLE october PARTITION OF landed {OCTOBER} PARTITION BY LIST (note)",
        "CREATE TABLE october_a PARTITION OF october FOR VALUES IN ('a')",
    )
    writing.give(DAY, row(1, "a"))
    writing.give(NEXT_DAY, row(1, "b"))
    assert errors(writing.sync(DAY)) == []
    error = failure(writing, NEXT_DAY)
    assert 'no partition of relation "october" found for row' in error
    assert "create a partition for it. Partitions are created automatically only if" in error
    assert placed(writing) == [("october_a", 1)]


@pytest.mark.parametrize(
    "by", ["LIST (sync_date)", "HASH (id)", "RANGE (id)", "RANGE (sync_date, id)"]
)
def test_a_table_that_is_partitioned_differently_keeps_its_partitions(
    writing: Writing, by: str
) -> None:
    bound = {
        "LIST (sync_date)": "IN ('2025-10-01')",
        "HASH (id)": "WITH (MODULUS 2, REMAINDER 1)",
        "RANGE (id)": "FROM (0) TO (10)",
        "RANGE (sync_date, id)": "FROM ('2025-10-01', 0) TO ('2025-10-01', 10)",
    }[by]
    run(
        writing,
        f"CREATE TABLE landed (id bigint, note text, sync_date date) PARTITION BY {by}",
        f"CREATE TABLE part PARTITION OF landed FOR VALUES {bound}",
    )
    # A hash partition accepts only certain numbers.
    accepted = "satisfies_hash_partition('landed'::regclass, 2, 1, n)" if "HASH" in by else "true"
    ((one,),) = run(writing, f"SELECT min(n) FROM generate_series(1::bigint, 9) n WHERE {accepted}")
    writing.give(DAY, row(one))
    assert errors(writing.sync(DAY, DAY)) == []
    assert placed(writing) == [("part", 1)]
    writing.give(NEXT_DAY, *[row(number) for number in range(1, 20)])
    error = failure(writing, NEXT_DAY)
    assert "no partition of relation" in error
    assert "partitioned by RANGE on the day_column alone" in error
    assert placed(writing) == [("part", 1)]


BY_TIME = "CREATE TABLE landed (id bigint, note text, at timestamptz) PARTITION BY RANGE (at)"


def at_times(writing: Writing, zone: str) -> None:
    """Use a timestamptz day column and days in the time zone `zone`."""
    writing.columns = {"id": "bigint", "note": "text", "at": "timestamp with time zone"}
    writing.changes = {"timezone": zone}
    writing.day_column = {"day_column": "at"}


def test_the_bounds_of_a_timestamptz_day_follow_the_datasets_time_zone(writing: Writing) -> None:
    at_times(writing, "America/New_York")
    run(writing, BY_TIME)
    days = [date(2025, 11, 1), date(2025, 11, 2), date(2025, 11, 3)]
    for number, day in enumerate(days):
        hour = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
        writing.give(day, row(number, at=hour + timedelta(hours=4)))
    assert errors(writing.sync(*days)) == []
    assert list(partitions(writing).values()) == [
        "FOR VALUES FROM ('2025-11-01 04:00:00+00') TO ('2025-11-02 04:00:00+00')",
        "FOR VALUES FROM ('2025-11-02 04:00:00+00') TO ('2025-11-03 05:00:00+00')",
        "FOR VALUES FROM ('2025-11-03 05:00:00+00') TO ('2025-11-04 05:00:00+00')",
    ]
    assert errors(writing.sync(*days)) == []
    assert [count for _, count in placed(writing)] == [1, 1, 1]


def test_a_day_that_the_time_zone_skipped_needs_no_partition(writing: Writing) -> None:
    at_times(writing, "Pacific/Apia")
    run(writing, BY_TIME)
    assert writing.one(date(2011, 12, 30)).error is None
    assert partitions(writing) == {}


def test_partitions_by_utc_day_are_used_if_together_they_cover_the_day(
    writing: Writing,
) -> None:
    at_times(writing, "Asia/Shanghai")
    first = "FOR VALUES FROM ('2025-09-30 00:00Z') TO ('2025-10-01 00:00Z')"
    run(writing, BY_TIME, f"CREATE TABLE utc_30 PARTITION OF landed {first}")
    late = datetime(2025, 10, 1, 15, tzinfo=timezone.utc)
    writing.give(DAY, row(1, at=late - timedelta(hours=20)), row(2, at=late))
    error = failure(writing, DAY)
    assert "partitions of landed cover only part of 2025-10-01 (Asia/Shanghai): utc_30" in error
    rest = "2025-09-30 16:00:00+00:00 to 2025-10-01 16:00:00+00:00"
    assert f"create partitions for the rest of {rest}" in error
    second = "FOR VALUES FROM ('2025-10-01 00:00Z') TO ('2025-10-02 00:00Z')"
    run(writing, f"CREATE TABLE utc_01 PARTITION OF landed {second}")
    assert errors(writing.sync(DAY, DAY)) == []
    assert placed(writing) == [("utc_01", 1), ("utc_30", 1)]


def test_rows_pass_through_a_parent_with_triggers_and_an_identity_column(
    writing: Writing,
) -> None:
    run(
        writing,
        BY_DAY,
        "ALTER TABLE landed ADD n bigint GENERATED ALWAYS AS IDENTITY",
        "CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.note = upper(NEW.note); RETURN NEW; END $$",
        "CREATE TRIGGER louder BEFORE INSERT ON landed FOR EACH ROW EXECUTE FUNCTION louder()",
    )
    writing.give(DAY, row(1, "a"), row(2, "b"))
    assert writing.one(DAY).error is None
    assert writing.landed("id, note, n") == [(1, "A", 1), (2, "B", 2)]
    assert placed(writing) == [("landed_2025_10_01", 2)]


def test_a_table_with_the_partitions_name_is_reported_with_the_statement_to_run(
    writing: Writing,
) -> None:
    run(writing, BY_DAY, "CREATE TABLE landed_2025_10_01 (LIKE landed)")
    writing.give(DAY, row(1))
    error = failure(writing, DAY)
    assert (
        'a table named "public"."landed_2025_10_01" exists that is not a partition; rename it, or'
        in error
    )
    run(writing, error.rpartition("run: ")[2])
    assert writing.one(DAY).error is None


def test_a_long_table_name_is_truncated_for_a_partition(writing: Writing) -> None:
    long = "行" * 21
    run(writing, BY_DAY.replace("landed", f'"{long}"'))
    writing.give(DAY, row(1))
    assert writing.one(DAY, table=long).error is None
    (name,) = partitions(writing, f'"{long}"')
    assert name == '"' + "行" * 17 + '_2025_10_01"'


def test_the_key_of_a_partitioned_table_must_include_the_day(writing: Writing) -> None:
    run(writing, BY_DAY)
    with pytest.raises(Exception, match="must include the partition columns") as raised:
        writing.sync(DAY, write="upsert", key=["id"])
    assert "set target.key to ['id', 'sync_date']" in str(raised.value)
    run(writing, str(raised.value).rpartition("run: ")[2])
    writing.give(DAY, row(1))
    assert writing.one(DAY, write="upsert", key=["id", "sync_date"]).error is None


def test_workers_create_partitions_concurrently_without_a_deadlock(writing: Writing) -> None:
    run(writing, BY_DAY)
    days = helpers.days(12)
    for day in days:
        writing.give(day, *[row(number) for number in range(50)])
    work = [partial(writing.sync, *days[n::4], *days[(n + 1) % 4 :: 4]) for n in range(4)]
    assert [errors(results) for results in helpers.at_once(work)] == [[]] * 4
    assert [count for _, count in placed(writing)] == [50] * 12


@contextmanager
def loaded(writing: Writing, day: date) -> Iterator["Connection"]:
    """Yield the connection of a worker that has loaded a day but has not committed it."""
    dataset = writing.syncing.dataset(writing.source)
    given = Settings({"SYNC_DATABASE_URL": writing.syncing.url})
    with (
        closing(open_source(dataset, given)) as source,
        closing(open_target(dataset, given)) as connection,
    ):
        target = Target(connection, dataset)
        target.prepare(source.shape)
        target.begin_day(day)
        helpers.replace_day(target, day, source)
        yield connection


def test_a_worker_that_has_attached_a_partition_blocks_neither_readers_nor_writers(
    writing: Writing, connection: "Connection"
) -> None:
    run(writing, BY_DAY)
    for day in helpers.days(3):
        writing.give(day, row(1))
    writing.sync(DAY)
    with loaded(writing, NEXT_DAY) as holder:
        helpers.execute(connection, "SET lock_timeout = '1s'")
        assert helpers.rows(connection, "SELECT note FROM landed") == [{"note": ""}]
        assert helpers.execute(connection, "UPDATE landed SET note = 'x'") == 1
        assert errors(writing.sync(DAY)) == []
        with helpers.in_thread(partial(writing.sync, helpers.days(3)[2])) as other:
            wait_until_blocked(connection, holder.info.backend_pid)
            holder.commit()
            assert errors(other.result(60)) == []
    assert [count for _, count in placed(writing)] == [1, 1, 1]


def test_a_worker_that_dies_before_its_commit_leaves_no_partition(
    writing: Writing, connection: "Connection"
) -> None:
    run(writing, BY_DAY)
    writing.give(DAY, row(1))
    with loaded(writing, DAY) as worker:
        helpers.execute(
            connection, "SELECT pg_terminate_backend(%s, 10000)", [worker.info.backend_pid]
        )
    assert partitions(writing) == {}
    assert errors(writing.sync(DAY)) == []
    assert placed(writing) == [("landed_2025_10_01", 1)]


def test_a_user_who_does_not_own_the_table_gets_a_statement_for_the_owner_to_run(
    writing: Writing, user: User
) -> None:
    run(writing, BY_DAY, f"GRANT ALL ON landed TO {user.name}")
    theirs = user.of(writing)
    theirs.give(DAY, row(1))
    for _ in range(2):  # first without, then with the right to create a table
        error = failure(theirs, DAY)
        assert (
            f"the target user {user.name} lacks permission to create one; "
            "run as the table's owner: " in error
        )
        run(writing, f"GRANT CREATE ON SCHEMA public TO {user.name}")
    run(writing, error.rpartition("owner: ")[2])
    assert errors(theirs.sync(DAY)) == []
    assert placed(writing) == [("landed_2025_10_01", 1)]
