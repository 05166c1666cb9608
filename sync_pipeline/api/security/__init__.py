"""Tokens, sessions and the rate limit.

Does not check requests: see `../authorization.py`.
"""
