"""Drop the functions that `database/functions.sql` replaces under another name or signature."""

from sync_pipeline.database.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("v0008_functions.sql")
