"""The tables and views that sync-pipeline creates, which no dataset may use as its target.

They are created by the migrations, `targets/quarantine.sql` and `tracking/worker/outbox.sql`; a
test compares this list with them.
"""

OWN_TABLES = frozenset(
    {
        "daily_sync_status",
        "sync_attempt",
        "sync_batch_progress",
        "sync_correction",
        "sync_day_coverage",
        "sync_day_gap",
        "sync_outbox",
        "sync_pipeline_version",
        "sync_rejected_row",
        "sync_slowest_day",
        "sync_source_columns",
        "sync_success_rate_by_week",
        "sync_worker",
    }
)
