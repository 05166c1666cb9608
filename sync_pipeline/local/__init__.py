"""PostgreSQL and Dagster on this machine."""
