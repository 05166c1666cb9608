"""The calls of the REST API."""
