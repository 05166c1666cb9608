"""A source that SQLAlchemy connects to."""
