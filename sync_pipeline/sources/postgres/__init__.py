"""The `postgres` source: a table or query in another PostgreSQL database."""
