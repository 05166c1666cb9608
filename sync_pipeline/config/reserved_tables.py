"""What the product itself keeps in a database, and so can be no dataset's target.

The migrations make them, `targets/rejected.sql` and `tracking/outbox.sql`; a test compares.
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
