"""What the API needs: changes in order and told of, indexes for its lists, functions to launch."""

from sync_pipeline.database.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("v0004_api.sql")
