"""The routes of the REST API and the web page, one module for each group of calls.

Does not read or write data: see `tracking/` and `api/launching.py`.
"""
