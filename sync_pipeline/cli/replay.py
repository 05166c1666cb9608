"""`sync-pipeline replay`: load the rows that were set aside, and say what became of each day's."""

from datetime import date

from rich.console import Console

from sync_pipeline.config.dataset import find_dataset
from sync_pipeline.settings import Settings
from sync_pipeline.sync.replay import replay
from sync_pipeline.tracking.worker.tracker import Tracker


def replay_and_show(settings: Settings, name: str, day: date | None, console: Console) -> bool:
    """Replay the rows of a dataset, printing each day; return whether none stays behind.

    Raises RequestError for an unknown dataset, TargetError, DayLockedError.
    """
    # Imports dagster, which costs seconds.
    from sync_pipeline.orchestration.project import load_datasets

    dataset = find_dataset(load_datasets(settings.project_dir), name)
    kept = days = 0
    with Tracker(settings, triggered_by="replay") as tracker:
        for done in replay(dataset, settings, tracker, day):
            text = f"{done.day}: {done.loaded} rows loaded, {done.kept} kept"
            console.print(f"{text}, {done.error}" if done.error else text, markup=False)
            kept, days = kept + done.kept, days + 1
    if not days:
        console.print(f"no row of {dataset.name} is kept" + (f" for {day}" if day else ""))
    return kept == 0
