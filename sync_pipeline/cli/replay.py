"""`sync-pipeline replay`: load quarantined rows and print the result for each day.

Does not load the rows itself: see `sync/replay.py`.
"""

from datetime import date

from rich.console import Console

from sync_pipeline.config.dataset import find_dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sync.replay import replay
from sync_pipeline.tracking.worker.tracker import Tracker


def replay_and_show(settings: Settings, name: str, day: date | None, console: Console) -> bool:
    """Replay a dataset's quarantined rows, print each day's result, and return whether none remain.

    Raises TargetError or DayLockedError, or RequestError if the dataset does not exist.
    """
    # Imported here, because it imports dagster, which takes seconds.
    from sync_pipeline.orchestration.project import load_datasets

    dataset = find_dataset(load_datasets(settings.project_dir), name)
    kept = days = 0
    with Tracker(settings, triggered_by="replay") as tracker:
        for done in replay(dataset, settings, tracker, day):
            text = f"{done.day}: {done.loaded} rows loaded, {done.kept} still quarantined"
            console.print(f"{text}, {done.error}" if done.error else text, markup=False)
            kept, days = kept + done.kept, days + 1
    if not days:
        suffix = f" for {day}" if day else ""
        console.print(f"no quarantined rows in {dataset.name}{suffix}")
    return kept == 0
