"""A ten-year batch, inserted directly into the tables, to test how the page handles many days."""

from dataclasses import dataclass
from datetime import date, timedelta

from sync_pipeline_tests.stack_project import Stack

FIRST = date(2013, 1, 1)
DAYS = 3650
DONE = 1800

_BATCH = """
INSERT INTO daily_sync_status (sync_date, status, success_count, remarks, dataset)
VALUES ('2017-12-30', 'syncing', 1800, '批量同步: 2013-01-01 至 2022-12-29, 共3650天', 'decade')
RETURNING id
"""
_ATTEMPTS = """
INSERT INTO sync_attempt (dataset, sync_date, batch_id, state, attempt, rows_read, rows_loaded,
                          bytes, triggered_by, started_at, ended_at)
SELECT 'decade', '2013-01-01'::date + n, %(batch)s,
       CASE WHEN n < %(done)s THEN 'success' ELSE 'pending' END,
       CASE WHEN n < %(done)s THEN 1 END, done * 1234, done * 1234, done * 98765, 'ada, API',
       CASE WHEN n < %(done)s THEN now() - interval '2 s' END, CASE WHEN n < %(done)s THEN now() END
FROM generate_series(0, %(days)s - 1) AS n, LATERAL (SELECT (n < %(done)s)::int AS done) AS d
"""
_FINISH_DAY = """
WITH attempt AS (
    UPDATE sync_attempt SET state = 'success', attempt = 1, rows_read = 7, rows_loaded = 7,
        started_at = now(), ended_at = clock_timestamp()
    WHERE batch_id = %(batch)s AND sync_date = %(day)s
), day AS (
    INSERT INTO daily_sync_status (sync_date, status, remarks, dataset)
    VALUES (%(day)s, 'success', '单日同步完成', 'decade')
)
UPDATE daily_sync_status SET success_count = success_count + 1 WHERE id = %(batch)s
"""


@dataclass(frozen=True)
class LongBatch:
    """A batch of `DAYS` days, of which `DONE` are already synced."""

    stack: Stack
    id: int

    def finish_day(self, n: int) -> date:
        """Mark the day with index `n` as synced, and return the day."""
        day = FIRST + timedelta(days=n)
        self.stack.target(_FINISH_DAY, {"batch": self.id, "day": day})
        return day

    def remove(self) -> None:
        self.stack.target("DELETE FROM daily_sync_status WHERE dataset = 'decade'")


def long_batch(stack: Stack) -> LongBatch:
    """Insert the batch and its attempts; return the batch."""
    (made,) = stack.target(_BATCH)
    stack.target(_ATTEMPTS, {"batch": made["id"], "done": DONE, "days": DAYS})
    return LongBatch(stack, made["id"])
