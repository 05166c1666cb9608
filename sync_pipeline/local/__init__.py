"""Start and stop PostgreSQL and Dagster on this machine, and load demo data."""
