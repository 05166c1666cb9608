"""Workers and their heartbeats, which days were reported to Dagster, and what was corrected."""

from sync_pipeline.database.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("v0002_workers.sql")
