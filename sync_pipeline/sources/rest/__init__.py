"""A source that is JSON over HTTP."""
