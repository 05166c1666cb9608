"""Sync Pipeline: load rows from a source into PostgreSQL, day by day, and record each day.

Dagster resolves `type: sync_pipeline.DailySync` in a `defs.yaml` through this module. The component
imports dagster, which takes several seconds, so it is loaded only when it is used. This keeps
`--help` and usage errors fast.
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
