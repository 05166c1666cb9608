"""Everything that imports dagster, and only that."""
