"""PostgreSQL and Dagster on this machine: start, stop, and demo data."""
