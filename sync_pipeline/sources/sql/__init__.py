"""The `sql` source: any database that SQLAlchemy can connect to."""
