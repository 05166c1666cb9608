"""The columns of each source as last seen, so that a change at the source is noticed."""

from sync_pipeline.database.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("v0005_columns.sql")
