"""The Dagster side of the pipeline: everything that imports dagster.

Does not move rows (see `sync/`) and does not write records itself (see `tracking/`).
"""
