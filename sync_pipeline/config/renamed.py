"""`defs.yaml` keys that were renamed before the first release.

Data only: `sources/strict_model.py` rejects an old key with an error that contains the new one.
For renamed settings, see `settings.py`.
"""

KEYS = {
    "when_day_is_held": "on_lock_conflict",
    "most_connections": "max_connections",
    "most_rejected_rows": "max_rejected_rows",
    "most_page_megabytes": "max_page_megabytes",
    "again_every_minutes": "retry_every_minutes",
    "again_until": "retry_until",
    "tries": "max_attempts",
    "first_pause_seconds": "initial_backoff_seconds",
    "longest_pause_seconds": "max_backoff_seconds",
    "warn_when_smaller_than": "volume.warn_below",
}
"""Maps the old name of each renamed key to its current name."""
