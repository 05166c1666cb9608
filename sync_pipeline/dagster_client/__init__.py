"""Access to Dagster without importing it: a GraphQL client, its storage, and the names of tags and
jobs."""
