"""The state that the reconciler keeps between runs, stored as the cursor of its sensor."""

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Suspicion:
    """A suspicion that a run is lost: the Unix time at which it began, and how many times it
    has started over because the reconciler had not run for a while.

    For a run that Dagster is creating, `last_event` is the storage ID of the run's newest event.
    """

    since: float
    renewed: int = 0
    last_event: int | None = None


@dataclass
class ReconcilerCursor:
    """The state after a run of the reconciler.

    `last_run_at` is a Unix time, and `runs_after` is the Unix time up to which finished runs have
    been processed; both are None before the first run. `suspected` is keyed by run ID.
    """

    last_run_at: float | None = None
    suspected: dict[str, Suspicion] = field(default_factory=dict)
    runs_after: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> "ReconcilerCursor":
        """Return the state in `cursor`, or an empty state if there is none or it cannot be parsed.

        An empty state is safe: the reconciler only takes longer to detect lost runs.
        """
        try:
            state = json.loads(cursor) if cursor else {}
            suspected = {run_id: Suspicion(**one) for run_id, one in state["suspected"].items()}
            return cls(state["last_run_at"], suspected, state["runs_after"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls()

    def to_json(self) -> str:
        """Return the state as JSON that `read` accepts."""
        return json.dumps(asdict(self))
