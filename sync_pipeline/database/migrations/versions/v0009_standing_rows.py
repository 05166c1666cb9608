"""Record which rows of a day the target holds, whatever became of its latest attempt."""

from sync_pipeline.database.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("v0009_standing_rows.sql")
