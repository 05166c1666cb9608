"""What a worker records: its days, its heartbeat, and what it still has to write after an outage.

Does not decide which state changes are allowed: see `state/`.
"""
