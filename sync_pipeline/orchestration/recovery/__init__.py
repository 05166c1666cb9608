"""Bringing the records up to what really happened."""
