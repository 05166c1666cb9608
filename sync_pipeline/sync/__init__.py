"""Sync the days of a dataset, one at a time or several in parallel. Does not import dagster."""
