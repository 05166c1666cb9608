"""The definitions that Dagster loads, for the project that `SYNC_PROJECT_DIR` names.

Contains no logic: see `orchestration/project.py`.
"""

import dagster as dg

from sync_pipeline.orchestration.project import build_defs
from sync_pipeline.settings import current_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the assets, jobs, schedules and sensors of the project."""
    return build_defs(current_settings().project_dir)
