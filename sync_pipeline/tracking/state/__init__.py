"""The state machine of attempts and records, as functions that run in the caller's transaction.

Does not open connections or retry a failed write: see `worker/`.
"""
