"""How Dagster names things: runs, partitions, events, storage."""
