"""Whether the tables can be read, and whether Dagster answers: looked at once a second at most,
since anybody may ask."""

from sync_pipeline.api.background_cache import BackgroundCache
from sync_pipeline.api.models import HealthOut
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.database.migrate import code_version, version_of
from sync_pipeline.database.pool import ReadingPool
from sync_pipeline.errors import StackError, SyncError

_KEPT_SECONDS = 1.0
_USABLE_SECONDS = 5.0  # what is older says nothing about now
_DAGSTER_SECONDS = 3.0


class Readiness:
    """Of one application."""

    def __init__(self, pool: ReadingPool, dagster: Dagster) -> None:
        self._needed = code_version()
        times = {"kept_seconds": _KEPT_SECONDS, "usable_seconds": _USABLE_SECONDS}
        self._version = BackgroundCache(lambda: pool.run(version_of), "the database", **times)
        self._dagster = BackgroundCache(
            lambda: dagster.graphql("{ version }", timeout_seconds=_DAGSTER_SECONDS),
            f"Dagster at {dagster.url}",
            **times,
        )

    def look(self) -> HealthOut:
        """Return what is ready. Dagster is only told of."""
        try:
            found = self._version.get()
            ready = found == self._needed
            database = (
                f"at version {found}" if ready else f"at version {found}, needs {self._needed}"
            )
        except SyncError:
            ready, database = False, "cannot be read; the server's log says why"
        try:
            self._dagster.get()
            dagster = "answers"
        except StackError:
            dagster = "does not answer; nothing can be launched"
        return HealthOut(ready=ready, database=database, dagster=dagster)
