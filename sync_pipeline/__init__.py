"""Sync Pipeline: a source's rows into PostgreSQL, day by day, with one true record.

Dagster resolves `type: sync_pipeline.DailySync` in a `defs.yaml` through this module. The
component imports dagster, which costs seconds, so it is loaded only when somebody asks for it:
the command line's quick answers (a typo, `--help`) must not pay for it.
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
