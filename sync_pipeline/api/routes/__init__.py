"""The routes of the REST API and the web page, one module for each group of calls.

Reading and writing is done elsewhere: in `tracking/` and `api/launching.py`.
"""
