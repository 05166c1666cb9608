"""The columns of each source when it was last opened, so that changes can be detected."""

from sync_pipeline.database.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("v0005_columns.sql")
