"""A batch that is taken up again over the API waits at once; what changed late is found by time."""

from sync_pipeline.database.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("v0006_retry_at_once.sql")
