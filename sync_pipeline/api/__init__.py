"""The REST API and the web page, served by a separate process that never imports dagster.

`config.py` reads the settings, `app.py` assembles the application, and `server.py` runs it. The
routes (`routes/`) are thin: they read through `tracking/`, and launch through Dagster's GraphQL API
(`launching.py`, `runs.py`). Access control is in `middleware.py` and `security/`, and the event
stream is in `live/`.
"""
