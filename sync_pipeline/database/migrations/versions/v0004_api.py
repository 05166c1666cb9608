"""For the API: numbered changes with notifications, indexes for lists, functions for batches."""

from sync_pipeline.database.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("v0004_api.sql")
