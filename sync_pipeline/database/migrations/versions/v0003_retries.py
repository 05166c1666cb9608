"""When a batch was taken up again, and what it does with days that are in already."""

from sync_pipeline.database.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("v0003_retries.sql")
