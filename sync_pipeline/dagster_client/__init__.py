"""Access to Dagster without importing it: a GraphQL client, a connection to Dagster's storage, and
the names of tags and jobs."""
