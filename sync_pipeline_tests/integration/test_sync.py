"""Days are synced one by one, each with its record; a failed day does not stop the next one."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sync_pipeline.config.dataset import Every, Percent
from sync_pipeline.errors import SourceError, TargetError
from sync_pipeline.settings import with_database
from sync_pipeline.sync.day import CANCELLED
from sync_pipeline.sync.days import DayResult, Outcome
from sync_pipeline.targets import open_target
from sync_pipeline.targets.locks import lock_day
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.helpers import (
    ROWS_PER_DAY,
    START,
    Pipeline,
    Worker,
    day_record,
    execute,
    gate_closed,
    history,
    in_thread,
    open_batch,
    record,
    rows,
    run,
    wait_until_blocked,
)
from sync_pipeline_tests.waiting import wait_until

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

pytestmark = pytest.mark.integration

DAYS = helpers.days(12)
FIVE = DAYS[:5]


@pytest.fixture(scope="module")
def one_source(make_database: Callable[[str | None], str]) -> str:
    return make_database(None)


@pytest.fixture
def source_url(one_source: str) -> str:
    Pipeline(one_source, "").make_source()
    return one_source


@pytest.fixture
def pipeline(source_url: str, database_url: str) -> Pipeline:
    """Return a pipeline with twelve source days and one target row for each of the first five."""
    run(
        database_url,
        "CREATE TABLE orders (day date, id integer, amount integer, passed boolean)",
        "CREATE INDEX ON orders (day)",
        "INSERT INTO orders SELECT date '2025-10-01' + n, -1, 0 FROM generate_series(0, 4) n",
    )
    return Pipeline(source_url, database_url)


def outcomes(results: list[DayResult]) -> list[str]:
    return [result.outcome.value for result in results]


def states(connection: "Connection", batch_id: int) -> list[str]:
    """Return the state of each day in a batch."""
    of_batch = "SELECT state FROM sync_attempt WHERE batch_id = %s AND NOT superseded"
    found = rows(connection, f"{of_batch} ORDER BY sync_date", [batch_id])
    return [row["state"] for row in found]


def errors(connection: "Connection", of: list[date]) -> list[str]:
    return [history(connection, day)[-1]["error_message"] or "" for day in of]


def test_each_day_is_replaced_by_the_sources_rows_and_recorded(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    results = pipeline.sync([*reversed(FIVE), START])

    assert [result.day for result in results] == FIVE
    assert pipeline.loaded() == dict.fromkeys(FIVE, ROWS_PER_DAY)
    content = "SELECT day, id, amount FROM orders WHERE day < '2025-10-06' ORDER BY id"
    assert run(pipeline.target, content) == run(pipeline.source, content)
    for result in results:
        assert result.counts is not None
        day = day_record(connection, result.day)
        assert (day["status"], day["success_count"]) == ("success", ROWS_PER_DAY)
        assert history(connection, result.day)[0]["bytes"] == result.counts.bytes > 0
        assert (day["run_id"], day["triggered_by"]) == ("run-1", "a test")


class TestOneTransaction:
    """A day's rows and its record become visible together or not at all."""

    def test_rows_and_record_are_written_in_one_transaction(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        run(
            pipeline.target,
            "CREATE TABLE written (what text, by xid8)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO written VALUES (TG_TABLE_NAME, pg_current_xact_id()); RETURN NEW; END $$",
            "CREATE TRIGGER note AFTER INSERT ON orders EXECUTE FUNCTION note()",
            "CREATE TRIGGER note AFTER UPDATE ON daily_sync_status FOR EACH ROW "
            "WHEN (NEW.status = 'success') EXECUTE FUNCTION note()",
        )
        pipeline.sync([START])
        written = rows(
            connection, "SELECT array_agg(what ORDER BY what) AS w FROM written GROUP BY by"
        )
        assert written == [{"w": ["daily_sync_status", "orders"]}]

    def test_other_sessions_see_both_only_after_the_commit(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        batch = open_batch(pipeline.target, [START])
        seen = (
            "SELECT (SELECT count(*) FROM orders WHERE day = '2025-10-01') AS rows, "
            "(SELECT status FROM daily_sync_status WHERE kind = 'day') AS day, "
            "(SELECT status FROM daily_sync_status WHERE kind = 'batch') AS batch"
        )
        with helpers.transaction(pipeline.target) as blocker:
            # Block the batch's record, which is written last.
            blocker.execute("SELECT FROM daily_sync_status WHERE kind = 'batch' FOR NO KEY UPDATE")
            with in_thread(partial(pipeline.sync, [START], batch)) as syncing:
                wait_until_blocked(connection, blocker.connection.info.backend_pid)
                assert rows(connection, seen) == [{"rows": 1, "day": "syncing", "batch": "syncing"}]
                blocker.connection.commit()
                syncing.result(helpers.TIMEOUT_SECONDS)
        assert rows(connection, seen) == [
            {"rows": ROWS_PER_DAY, "day": "success", "batch": "success"}
        ]

    @pytest.mark.parametrize("table", ["orders", "daily_sync_status"])
    def test_a_commit_that_fails_for_one_fails_for_both(
        self, pipeline: Pipeline, connection: "Connection", table: str
    ) -> None:
        condition = "id % 10 = 9" if table == "orders" else "status = 'success'"
        run(
            pipeline.target,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'not this day'; END $$",
            f"CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON {table} "
            f"INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.{condition}) EXECUTE FUNCTION refuse()",
        )
        [result] = pipeline.sync([START])
        assert result.outcome is Outcome.FAILED
        assert pipeline.loaded()[START] == 1
        assert day_record(connection, START)["status"] == "failed"
        assert "not this day" in day_record(connection, START)["error_message"]


@pytest.mark.parametrize("broken", ["target", "lost source", "lost target"])
def test_a_failed_day_keeps_its_existing_rows_and_the_next_days_are_synced(
    pipeline: Pipeline, connection: "Connection", broken: str
) -> None:
    day = FIVE[2]
    match broken:
        case "target":
            run(pipeline.target, "ALTER TABLE orders ADD CHECK (amount <> 250)")
        case "lost source":
            run(pipeline.source, f"INSERT INTO broken VALUES ('{day}')")
        case "lost target":
            run(
                pipeline.target,
                "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$",
                "CREATE TRIGGER die BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.id = 25) "
                "EXECUTE FUNCTION die()",
            )
    batch = open_batch(pipeline.target, FIVE)

    results = pipeline.sync(FIVE, batch)

    assert outcomes(results) == ["success", "success", "failed", "success", "success"]
    assert pipeline.loaded() == dict.fromkeys(FIVE, ROWS_PER_DAY) | {day: 1}
    assert states(connection, batch.id) == outcomes(results)
    failed = day_record(connection, day)
    assert (failed["status"], failed["error_message"]) == ("failed", results[2].error)
    assert f"{day}" in failed["error_message"]
    closed = record(connection, batch.id)
    assert (closed["status"], closed["success_count"], closed["failed_count"]) == ("failed", 4, 1)


class TestSkipping:
    """Days that are already synced."""

    def test_without_resync_synced_days_are_skipped(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(FIVE[:2])
        run(pipeline.target, "UPDATE orders SET amount = -1")
        batch = open_batch(pipeline.target, FIVE)

        results = pipeline.sync(FIVE, batch, resync=False)

        assert outcomes(results) == ["skipped"] * 2 + ["success"] * 3
        assert states(connection, batch.id) == outcomes(results)
        kept = rows(connection, "SELECT day, count(*) FROM orders WHERE amount = -1 GROUP BY day")
        assert sorted((row["day"], row["count"]) for row in kept) == [
            (day, ROWS_PER_DAY) for day in FIVE[:2]
        ]
        closed = record(connection, batch.id)
        assert (closed["status"], closed["skipped_count"]) == ("success", 2)

    def test_the_source_is_not_opened_if_all_days_are_synced(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(FIVE)
        batch = open_batch(pipeline.target, FIVE)
        unreachable = Pipeline(with_database(pipeline.source, "nowhere"), pipeline.target)
        assert outcomes(unreachable.sync(FIVE, batch, resync=False)) == ["skipped"] * 5
        assert record(connection, batch.id)["status"] == "success"

    def test_with_resync_synced_days_are_synced_again(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        pipeline.sync(FIVE)
        run(pipeline.target, "UPDATE orders SET amount = -1")
        assert outcomes(pipeline.sync(FIVE, resync=True)) == ["success"] * 5
        assert rows(connection, "SELECT FROM orders WHERE amount = -1") == []
        assert day_record(connection, START)["attempt"] == 2


class TestContinuing:
    """Another run continues a batch in which some days are completed."""

    @pytest.mark.parametrize("resync", [True, False])
    def test_completed_days_and_their_records_are_not_changed(
        self, pipeline: Pipeline, connection: "Connection", resync: bool
    ) -> None:
        run(pipeline.source, f"INSERT INTO broken VALUES ('{FIVE[2]}')")
        batch = open_batch(pipeline.target, FIVE)
        pipeline.sync(FIVE[:1])
        assert outcomes(pipeline.sync(FIVE[:4], batch, resync=False)) == [
            *("skipped", "success", "failed", "success")
        ]
        run(pipeline.source, "DELETE FROM broken")
        before = rows(connection, "SELECT * FROM sync_attempt WHERE state <> 'pending'")

        results = pipeline.sync(FIVE, batch, resync=resync)

        assert outcomes(results) == ["skipped"] * 3 + ["success"] * 2
        assert [result.day for result in results] == [DAYS[n] for n in (0, 1, 3, 2, 4)]
        assert [result.synced is not None for result in results] == [True] * 3 + [False] * 2
        after = rows(connection, "SELECT * FROM sync_attempt WHERE state <> 'pending'")
        failed = [row for row in before if row["state"] == "failed"]
        assert all(row in after for row in before if row not in failed)
        assert states(connection, batch.id) == ["skipped", *["success"] * 4]
        closed = record(connection, batch.id)
        assert (closed["status"], closed["skipped_count"]) == ("success", 1)

    def test_a_completed_day_is_skipped_even_if_a_later_attempt_outside_the_batch_failed(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        batch = open_batch(pipeline.target, FIVE)
        pipeline.sync(FIVE[:1], batch)
        Worker(pipeline.target, run_id="other").break_at(START)
        results = pipeline.sync(FIVE[:2], batch, resync=False)
        assert outcomes(results) == ["skipped", "success"]
        assert (results[0].synced, day_record(connection, START)["status"]) == (None, "failed")


def test_a_day_without_rows_at_the_source_is_cleared_and_succeeds(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    run(pipeline.source, "DELETE FROM orders WHERE day = '2025-10-01'")
    [result] = pipeline.sync([START])
    assert result.outcome is Outcome.SUCCESS
    assert START not in pipeline.loaded()
    day = day_record(connection, START)
    assert (day["status"], day["total_records"], day["success_count"]) == ("success", 0, 0)


class TestUnreachable:
    """A source or target that cannot be used ends the sync with an error."""

    @pytest.mark.parametrize("why", ["no database", "no table", "no matching target"])
    def test_an_unusable_source_fails_the_first_day_and_the_others_are_not_run(
        self, pipeline: Pipeline, connection: "Connection", why: str
    ) -> None:
        expected: type[Exception] = SourceError
        match why:
            case "no database":
                unreachable = with_database(pipeline.source, "nowhere")
                pipeline = Pipeline(unreachable, pipeline.target)
            case "no table":
                run(pipeline.source, "DROP VIEW orders_source")
            case "no matching target":
                run(pipeline.target, "ALTER TABLE orders DROP amount")
                expected = TargetError
        batch = open_batch(pipeline.target, FIVE)
        results = pipeline.start(FIVE, batch)
        first = next(results)
        with pytest.raises(expected) as raised:
            next(results)

        assert (first.day, first.outcome, first.error) == (START, Outcome.FAILED, str(raised.value))
        assert errors(connection, FIVE) == [first.error] + [f"not run: {first.error}"] * 4
        assert day_record(connection, START)["error_message"] == first.error
        closed = record(connection, batch.id)
        assert (closed["status"], closed["failed_count"]) == ("failed", 5)
        reason = (first.error or "").removeprefix("dataset orders: ")
        assert closed["remarks"] == f"批量同步失败: {reason}"
        assert pipeline.loaded() == dict.fromkeys(FIVE, 1)

    def test_if_the_target_is_unusable_no_day_is_run(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        unreachable = with_database(pipeline.target, "nowhere")
        apart = Pipeline(pipeline.source, unreachable, tracking=pipeline.target)
        batch = open_batch(pipeline.target, FIVE)
        with pytest.raises(TargetError, match="SYNC_DATABASE_URL") as raised:
            apart.sync(FIVE, batch)
        assert errors(connection, FIVE) == [f"not run: {raised.value}"] * 5
        assert record(connection, batch.id)["status"] == "failed"


class TestStopped:
    """The caller stops before all days are synced."""

    def test_an_interrupted_day_is_rolled_back_and_recorded_as_cancelled(
        self, pipeline: Pipeline, connection: "Connection", interrupt: Callable[[], None]
    ) -> None:
        batch = open_batch(pipeline.target, FIVE)
        results = pipeline.start(FIVE, batch)
        next(results)

        with gate_closed(pipeline.source) as gate:

            def interrupt_midway() -> None:
                wait_until_blocked(connection, gate.info.backend_pid)
                interrupt()

            with in_thread(interrupt_midway), pytest.raises(helpers.Interrupted):
                next(results)

        assert states(connection, batch.id) == ["success", "failed", *["pending"] * 3]
        assert day_record(connection, FIVE[1])["error_message"] == CANCELLED
        assert pipeline.loaded() == dict.fromkeys(FIVE, 1) | {START: ROWS_PER_DAY}

    def test_closing_between_two_days_leaves_no_session_and_keeps_the_other_days_pending(
        self, pipeline: Pipeline, connection: "Connection"
    ) -> None:
        batch = open_batch(pipeline.target, FIVE)
        results = pipeline.start(FIVE, batch)
        next(results)
        assert isinstance(results, Iterator)
        results.close()  # type: ignore[attr-defined]

        assert states(connection, batch.id) == ["success", *["pending"] * 4]
        assert record(connection, batch.id)["status"] == "syncing"
        ours = "SELECT FROM pg_stat_activity WHERE application_name ~ '(orders|run-1)$'"
        # The server ends the session shortly after the client disconnects.
        for _ in range(helpers.TIMEOUT_SECONDS * 100):
            if not execute(connection, ours):
                return
        raise AssertionError("a session is still open")


def test_a_locked_day_fails_with_the_holders_name_and_keeps_its_record(
    pipeline: Pipeline, connection: "Connection"
) -> None:
    batch = open_batch(pipeline.target, FIVE)
    with closing(open_target(pipeline.dataset(), pipeline.settings, "the holder")) as holder:
        lock_day(holder, pipeline.dataset(), START)
        attempt = Worker(pipeline.target, run_id="holder").begin(START)
        before = day_record(connection, START)

        results = pipeline.sync(FIVE[:2], batch)

        assert outcomes(results) == ["failed", "success"]
        pid = holder.info.backend_pid
        assert f"being loaded by the session 'sync_pipeline: the holder' (pid {pid})" in (
            results[0].error or ""
        )
        assert day_record(connection, START) == before
    assert states(connection, batch.id) == ["failed", "success", *["pending"] * 3]
    Worker(pipeline.target, run_id="holder").succeed(attempt)
    assert day_record(connection, START)["run_id"] == "holder"


class TestSeparateDatabase:
    """The records and the rows are in different databases."""

    @pytest.fixture
    def tracking_url(
        self, make_database: Callable[[str | None], str], migrated_template: str
    ) -> str:
        return make_database(migrated_template)

    @pytest.fixture
    def apart(self, pipeline: Pipeline, tracking_url: str) -> Pipeline:
        run(pipeline.target, "DROP TABLE daily_sync_status CASCADE")
        return Pipeline(pipeline.source, pipeline.target, tracking_url)

    def test_each_day_is_recorded_with_its_outcome(
        self, apart: Pipeline, tracking_url: str
    ) -> None:
        run(apart.source, f"INSERT INTO broken VALUES ('{FIVE[1]}')")
        batch = open_batch(tracking_url, FIVE)
        results = apart.sync(FIVE, batch)
        assert outcomes(results) == ["success", "failed", "success", "success", "success"]
        recorded = "SELECT sync_date, status FROM daily_sync_status WHERE kind = 'day'"
        assert run(tracking_url, f"{recorded} ORDER BY 1") == [
            (result.day, result.outcome.value) for result in results
        ]
        [counts] = run(
            tracking_url,
            "SELECT status, success_count, failed_count, total_records FROM daily_sync_status "
            "WHERE kind = 'batch'",
        )
        assert counts == ("failed", 4, 1, 4 * ROWS_PER_DAY)


@pytest.mark.parametrize("apart", [False, True])
def test_a_superseded_day_fails_and_the_next_days_are_synced(
    pipeline: Pipeline,
    connection: "Connection",
    make_database: Callable[[str | None], str],
    migrated_template: str,
    apart: bool,
) -> None:
    if apart:
        pipeline = Pipeline(pipeline.source, pipeline.target, make_database(migrated_template))
    records = pipeline.tracking or pipeline.target
    batch = open_batch(records, FIVE)
    work = partial(pipeline.sync, FIVE, batch)
    with gate_closed(pipeline.source) as gate, in_thread(work) as syncing:
        wait_until_blocked(connection, gate.info.backend_pid)
        # The source is read while the attempt begins.
        wait_until(lambda: Worker(records, batch).fail_run("presumed dead") == 1)
        execute(gate, "SELECT pg_advisory_unlock(42)")
        results = syncing.result(helpers.TIMEOUT_SECONDS)

    assert outcomes(results) == ["failed", *["success"] * 4]
    assert "attempt 1 was closed" in (results[0].error or "")
    [kept] = run(
        records,
        "SELECT error_message FROM daily_sync_status WHERE kind = 'day' AND status = 'failed'",
    )
    assert kept == ("presumed dead",)
    assert pipeline.loaded()[START] == 1  # the new rows were rolled back


class TestProgress:
    """How often a batch's record is updated while its days are synced."""

    @pytest.mark.parametrize(
        ("policy", "days", "written"),
        [
            ("every_day", DAYS[:10], list(range(1, 11))),
            ("auto", DAYS, [5, 10, 12]),
            (Every(days=4), DAYS, [4, 8, 12]),
            (Every(days=50), DAYS, [12]),
            (Percent(percent=50), DAYS, [6, 12]),
        ],
    )
    def test_the_record_is_updated_at_the_intervals_of_the_policy_and_at_the_end(
        self,
        pipeline: Pipeline,
        connection: "Connection",
        policy: Any,
        days: list[date],
        written: list[int],
    ) -> None:
        run(
            pipeline.target,
            "CREATE TABLE written (done int)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO written VALUES (NEW.success_count); RETURN NEW; END $$",
            "CREATE TRIGGER note AFTER UPDATE ON daily_sync_status FOR EACH ROW "
            "WHEN (NEW.kind = 'batch') EXECUTE FUNCTION note()",
        )
        batch = open_batch(pipeline.target, days)
        pipeline.sync(days, batch, progress=policy)
        found = rows(connection, "SELECT DISTINCT done FROM written ORDER BY done")
        assert [row["done"] for row in found] == written
        closed = record(connection, batch.id)
        assert (closed["status"], closed["success_count"]) == ("success", len(days))
        assert closed["total_records"] == len(days) * ROWS_PER_DAY
