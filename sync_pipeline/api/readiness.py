"""Readiness of the server: whether the tracking tables are readable and Dagster responds.

Results are cached for a second, because `GET /readyz` can be called without a token.
"""

from sync_pipeline.api.background_cache import BackgroundCache
from sync_pipeline.api.models import HealthOut
from sync_pipeline.dagster_client.client import Dagster
from sync_pipeline.database.migrate import code_version, version_of
from sync_pipeline.database.pool import ReadOnlyPool
from sync_pipeline.errors import StackError, SyncError

_TTL_SECONDS = 1.0
_MAX_AGE_SECONDS = 5.0
_DAGSTER_TIMEOUT_SECONDS = 3.0


class Readiness:
    """Checks whether one application is ready."""

    def __init__(self, pool: ReadOnlyPool, dagster: Dagster) -> None:
        self._required = code_version()
        ages = {"ttl_seconds": _TTL_SECONDS, "max_age_seconds": _MAX_AGE_SECONDS}
        self._version = BackgroundCache(lambda: pool.run(version_of), "the database", **ages)
        self._dagster = BackgroundCache(
            lambda: dagster.graphql("{ version }", timeout_seconds=_DAGSTER_TIMEOUT_SECONDS),
            f"Dagster at {dagster.url}",
            **ages,
        )

    def check(self) -> HealthOut:
        """Return whether the server is ready, and the states of the database and of Dagster."""
        try:
            version = self._version.get()
            ready = version == self._required
            database = (
                f"at version {version}"
                if ready
                else f"at version {version}, but version {self._required} is required"
            )
        except SyncError:
            ready, database = False, "cannot be read; see the server log"
        try:
            self._dagster.get()
            dagster = "responds"
        except StackError:
            dagster = "does not respond; batches cannot be launched"
        return HealthOut(ready=ready, database=database, dagster=dagster)
