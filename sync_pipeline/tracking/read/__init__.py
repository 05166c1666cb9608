"""Queries on the records, for the command line, the API, the schedule and the checks.

Does not write: see `state/`.
"""
