"""The tracking tables: daily_sync_status, sync_attempt, and the views over them."""

from sync_pipeline.database.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("v0001_tracking.sql")
