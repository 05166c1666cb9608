"""Sync the days of a dataset, one by one or several in parallel. Does not import dagster."""
