"""Sync Pipeline: load a source's rows into PostgreSQL, day by day, with an accurate record of each.

Dagster resolves `type: sync_pipeline.DailySync` in a `defs.yaml` through this module. The
component imports dagster, which takes seconds, so it is loaded only when it is used: `--help` and
usage errors of the command line stay fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sync_pipeline.orchestration.component import DailySync

__all__ = ["DailySync"]


def __getattr__(name: str) -> Any:
    if name == "DailySync":
        from sync_pipeline.orchestration.component import DailySync

        return DailySync
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "DailySync"]
