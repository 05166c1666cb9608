"""The subset of JSONPath that a `defs.yaml` may use: names and indexes, such as `$.data.orders[0]`.

Such a path matches at most one value, so it is never ambiguous.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

Steps = tuple[str | int, ...]

_STEP = re.compile(r"""\.?([^.\[\]'"*\s]+)|\['([^']+)'\]|\["([^"]+)"\]|\[(\d+)\]""")


class Missing:
    """The type of MISSING, which `find` returns if there is no value. A JSON null is None."""


MISSING = Missing()


def steps_of(path: str) -> Steps:
    """Return the names and indexes in `path`. Raises ValueError if it contains anything else."""
    rest = path[1:] if path.startswith("$") else f".{path}"
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise ValueError(
                f"{path!r} must be a path of names and indexes, such as $.data.orders or "
                "$['@odata.count']"
            )
        plain, single, double, index = match.groups()
        steps.append(int(index) if index else plain or single or double)
        at = match.end()
    return tuple(steps)


def find(steps: Sequence[str | int], document: Any) -> Any:
    """Return the value at `steps` in parsed JSON, or MISSING."""
    value = document
    for step in steps:
        if isinstance(step, str):
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else MISSING
    return value


def _path(path: str) -> str:
    steps_of(path)
    return path


JsonPath = Annotated[str, AfterValidator(_path)]
