"""A source that is files."""
