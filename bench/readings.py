"""Ten years of small days, for cases with many days. For one large day, see `wide_rows.py`."""

from datetime import date

from bench.stack import run_sql
from sync_pipeline.config.dataset import Dataset, PostgresTarget
from sync_pipeline.config.sources import PostgresSource
from sync_pipeline.settings import SOURCE_URL, Settings

FIRST = date(2015, 1, 1)
DAYS = 3_650
ROWS_A_DAY = 20


def make_readings(settings: Settings) -> None:
    """Create the source table `readings`, with 20 rows per day."""
    run_sql(
        settings.postgres_url(SOURCE_URL),
        "CREATE TABLE readings (day date NOT NULL, sensor integer NOT NULL, value float8 NOT NULL)",
        f"INSERT INTO readings SELECT date '{FIRST}' + d, s, d * s "
        f"FROM generate_series(0, {DAYS - 1}) d, generate_series(1, {ROWS_A_DAY}) s",
        "CREATE INDEX ON readings (day)",
        "VACUUM (ANALYZE) readings",
    )


def dataset(name: str) -> Dataset:
    """Return a dataset that syncs `readings` into the table `name`."""
    return Dataset(
        name=name,
        start_date=FIRST,
        source=PostgresSource(url_env=SOURCE_URL, table="readings", day_column="day"),
        target=PostgresTarget(table=name),
    )
