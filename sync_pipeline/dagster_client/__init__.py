"""Access to a running Dagster from outside: GraphQL, storage and names, without importing
dagster."""
