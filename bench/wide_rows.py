"""One large day of realistic rows: ten columns, about 130 bytes per row in COPY's binary format.

For many small days, see `readings.py`.
"""

from datetime import date

from bench.stack import run_sql
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.settings import SOURCE_URL, Settings

DAY = date(2025, 10, 1)
SOURCE_TABLE = "orders"
DAY_COLUMN = "placed_on"

# Unlogged, because such a table is faster to fill; reading it is not affected.
_CREATE = f"""
CREATE UNLOGGED TABLE {SOURCE_TABLE} (
    id bigint NOT NULL, customer_id integer NOT NULL, {DAY_COLUMN} date NOT NULL,
    placed_at timestamptz NOT NULL, shipped_at timestamptz, status text NOT NULL,
    amount numeric(12, 2) NOT NULL, quantity integer NOT NULL, product text NOT NULL, note text
)"""
_FILL = f"""
INSERT INTO {SOURCE_TABLE}
SELECT n, (n * 7919::bigint) % 200000, '{DAY}',
       '{DAY} 00:00+00'::timestamptz + n * interval '10 ms',
       CASE WHEN n % 5 > 0 THEN '{DAY} 12:00+00'::timestamptz + n * interval '10 ms' END,
       (ARRAY['placed', 'paid', 'shipped', 'returned'])[1 + n % 4],
       (n % 1000000) / 100.0, 1 + n % 9, 'product ' || (n * 31) % 5000,
       CASE WHEN n % 3 = 0 THEN 'leave it with the neighbour, ring twice' END
FROM generate_series(1, {{rows}}) AS n"""


def make_day(settings: Settings, rows: int) -> None:
    """Create the source table with one day of `rows` rows, then vacuum and analyze it."""
    run_sql(
        settings.postgres_url(SOURCE_URL),
        _CREATE,
        _FILL.format(rows=rows),
        f"CREATE INDEX ON {SOURCE_TABLE} ({DAY_COLUMN})",
        f"VACUUM (ANALYZE) {SOURCE_TABLE}",
        "CHECKPOINT",
    )


def dataset(name: str) -> Dataset:
    """Return a dataset that syncs the source table into a table of the same name."""
    return Dataset(
        name=name,
        start_date=DAY,
        source=PostgresSource(url_env=SOURCE_URL, table=SOURCE_TABLE, day_column=DAY_COLUMN),
        target=PostgresTarget(table=name),
    )
