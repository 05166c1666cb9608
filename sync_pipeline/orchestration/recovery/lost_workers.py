"""Decides whether a worker is lost: its process is dead, or it sends no heartbeats.

A missing heartbeat is not enough: the tracking tables may have been unavailable, or the reconciler
may not have run. The run is therefore suspected first. Does not mark its run as failed: see
`reconciler.py`.
"""

import time
from dataclasses import replace

from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor, Suspicion
from sync_pipeline.tracking.worker.workers import RegisteredWorker

_MAX_GAP_SECONDS = 15.0  # after a longer gap between two runs, suspicions begin again
_MAX_RENEWALS = 3  # a run is lost if its suspicion has begun again this many times


class Suspicions:
    """The runs that may be lost, in one run of the reconciler.

    `state` holds the suspicions from the previous run, and receives those of this run.
    """

    def __init__(self, lost_after_seconds: float, state: ReconcilerCursor) -> None:
        self._lost_after_seconds = lost_after_seconds
        self._state = state
        self._before, state.suspected = self._renewed(), {}

    def why_lost(self, registered: RegisteredWorker) -> str | None:
        """Return why a worker is considered lost, or None if it is not."""
        pid, silent = registered.worker.pid, registered.silent_seconds
        if registered.is_dead(self._lost_after_seconds / 2):
            return f"its process {pid} was killed or crashed"
        if silent <= self._lost_after_seconds:
            return None
        # The tracking tables may have been unavailable; give the worker time for a heartbeat.
        if not self.is_suspected_for(registered.worker.run_id, self._lost_after_seconds / 2):
            return None
        return f"its process {pid} sent no heartbeat for {silent:.0f} s"

    def is_suspected_for(
        self, run_id: str, seconds: float, *, last_event: int | None = None
    ) -> bool:
        """Note that a run may be lost; return whether it has been suspected for `seconds`.

        The suspicion begins again if `last_event`, the run's newest event, has changed. If the
        reconciler always runs late, for example in a busy daemon, the suspicion begins again each
        time. In that case, returns True once it has done so a few times.
        """
        now = time.time()
        suspicion = self._before.get(run_id)
        if suspicion is None or suspicion.last_event != last_event:
            suspicion = Suspicion(now, last_event=last_event)
        self._state.suspected[run_id] = suspicion
        return now - suspicion.since >= seconds or suspicion.renewed >= _MAX_RENEWALS

    def _renewed(self) -> dict[str, Suspicion]:
        """Return the suspicions of the previous run; if it was too long ago, they begin now.

        Otherwise, a worker that missed heartbeats during an outage of the tracking tables would be
        declared lost before it could send the next one.
        """
        now, before = time.time(), self._state.suspected
        max_gap = max(_MAX_GAP_SECONDS, self._lost_after_seconds / 2)
        if now - (self._state.last_run_at or 0.0) < max_gap:
            return before
        return {
            run_id: replace(found, since=now, renewed=found.renewed + 1)
            for run_id, found in before.items()
        }
