"""What the reconciler remembers from one look to the next: its sensor's cursor."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class ReadPosition:
    """How far a dataset's news were read: all up to storage id `after`, and these behind it."""

    after: int = 0
    done: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Suspicion:
    """Of a run without a sign of life: the Unix time since when, and how often that began anew
    because nobody had looked for a while."""

    since: float
    renewed: int = 0


@dataclass
class ReconcilerCursor:
    """`looked_at` is the Unix time of the look; `suspected` is by run, `heard` by dataset;
    `runs_after` is the Unix time up to which ended runs were looked at. None is for what has not
    been yet."""

    looked_at: float | None = None
    suspected: dict[str, Suspicion] = field(default_factory=dict)
    heard: dict[str, ReadPosition] = field(default_factory=dict)
    runs_after: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> "ReconcilerCursor":
        """Return the memory that `cursor` holds; an empty one for none."""
        kept: dict[str, Any] = json.loads(cursor) if cursor else {}
        return cls(
            kept.get("looked_at"),
            {run_id: _suspicion(found) for run_id, found in kept.get("suspected", {}).items()},
            {name: ReadPosition(**heard) for name, heard in kept.get("heard", {}).items()},
            kept.get("runs_after"),
        )

    def to_cursor(self) -> str:
        """Return what `read` reads."""
        return json.dumps(asdict(self))


def _suspicion(kept: Any) -> Suspicion:
    return Suspicion(**kept) if isinstance(kept, dict) else Suspicion(kept)  # as it was at first
