"""Syncing days: one worker, several in parallel."""
