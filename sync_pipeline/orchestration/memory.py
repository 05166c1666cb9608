"""What the reconciler remembers from one look to the next: its sensor's cursor."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Heard:
    """How far a dataset's news were read: all up to storage id `after`, and these behind it."""

    after: int = 0
    done: list[int] = field(default_factory=list)


@dataclass
class Memory:
    """`looked_at` is the Unix time of the look; `suspected` are runs without a sign of life, with
    the Unix time since when; `heard` is by dataset; `runs_after` is the Unix time up to which ended
    runs were looked at. None is for what has not been yet."""

    looked_at: float | None = None
    suspected: dict[str, float] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    runs_after: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> "Memory":
        """Return the memory that `cursor` holds; an empty one for none."""
        kept: dict[str, Any] = json.loads(cursor) if cursor else {}
        return cls(
            kept.get("looked_at"),
            kept.get("suspected", {}),
            {name: Heard(**heard) for name, heard in kept.get("heard", {}).items()},
            kept.get("runs_after"),
        )

    def to_cursor(self) -> str:
        """Return what `read` reads."""
        return json.dumps(asdict(self))
