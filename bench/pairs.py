"""Two ways measured in turn, several times over, so that a machine's moods fall on both alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.results import Say


@dataclass(frozen=True)
class Pair:
    """One turn of each way, in seconds."""

    of: float
    against: float


def measure_pairs(
    count: int, of: Callable[[], float], against: Callable[[], float], say: Say
) -> list[Pair]:
    """Call each way `count` times, one after the other; return the seconds they answer.

    Which goes first alternates: the second may find a warmer cache or a busier disk.
    """
    pairs = []
    for number in range(1, count + 1):
        if number % 2:
            first = of()
            pair = Pair(first, against())
        else:
            first = against()
            pair = Pair(of(), first)
        say(f"pair {number} of {count}: {pair.of:.3g} s against {pair.against:.3g} s")
        pairs.append(pair)
    return pairs


def ratio(pairs: Sequence[Pair]) -> float:
    """Return the median of the pairs' ratios, which one disturbed pair does not move."""
    return median(pair.of / pair.against for pair in pairs)


def raw(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the medians, and every turn, in seconds."""
    return {
        "of_seconds": _rounded(median(pair.of for pair in pairs)),
        "against_seconds": _rounded(median(pair.against for pair in pairs)),
        "all_of_seconds": [_rounded(pair.of) for pair in pairs],
        "all_against_seconds": [_rounded(pair.against) for pair in pairs],
    }


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")
