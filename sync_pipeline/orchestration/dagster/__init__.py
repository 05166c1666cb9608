"""Adapters for Dagster: batch keys, partitions, events, run times and storage."""
