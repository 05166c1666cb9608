"""A batch retried over the API is pending immediately; late changes are found by update time."""

from sync_pipeline.database.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("v0006_retry_at_once.sql")
