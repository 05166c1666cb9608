"""Access control: tokens, sessions and the rate limit.

Does not check requests: see `routes/access.py`.
"""
