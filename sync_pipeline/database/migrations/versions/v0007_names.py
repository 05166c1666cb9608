"""Rename columns, functions and indexes to the terms in the glossary; rewrite the comments."""

from sync_pipeline.database.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("v0007_names.sql")
