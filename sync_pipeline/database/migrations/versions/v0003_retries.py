"""When a batch was retried, and whether it skips or resyncs days that are already synced."""

from sync_pipeline.database.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("v0003_retries.sql")
