"""A PostgreSQL source."""
