"""Import Dagster, the product and the definitions before the workers are forked."""

from sync_pipeline.orchestration import run_batch as run_batch
from sync_pipeline.orchestration.dagster import run_launcher as run_launcher
from sync_pipeline.orchestration.project import build_defs, load_datasets
from sync_pipeline.settings import current_settings

_PROJECT = current_settings().project_dir
DATASETS = load_datasets(_PROJECT)
build_defs(_PROJECT)
