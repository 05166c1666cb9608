"""What a worker records: its days, its heartbeat, and what it still has to write after an outage.

Does not decide how a state may change: see `state/`.
"""
