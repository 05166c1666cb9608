"""The definitions that Dagster loads for the project in `SYNC_PROJECT_DIR`.

Contains no logic: see `orchestration/project.py`.
"""

import dagster as dg

from sync_pipeline.orchestration.project import build_defs
from sync_pipeline.settings import current_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the project's assets, jobs, schedules and sensors."""
    return build_defs(current_settings().project_dir)
