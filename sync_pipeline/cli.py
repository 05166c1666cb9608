"""Sync Pipeline command line (placeholder)."""
