"""Measures two operations alternately, several times, so that noise affects both equally."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.results import Log


@dataclass(frozen=True)
class Pair:
    """The durations of the two operations, run once each, in seconds."""

    measured: float
    baseline: float


def measure_pairs(
    count: int, measured: Callable[[], float], baseline: Callable[[], float], log: Log
) -> list[Pair]:
    """Call both functions `count` times; return their results, which are durations in seconds.

    The order alternates, because the second call may find a warmer cache or a busier disk.
    """
    pairs = []
    for number in range(1, count + 1):
        if number % 2:
            first = measured()
            pair = Pair(first, baseline())
        else:
            first = baseline()
            pair = Pair(measured(), first)
        log(f"pair {number} of {count}: {pair.measured:.3g} s vs. {pair.baseline:.3g} s")
        pairs.append(pair)
    return pairs


def ratio(pairs: Sequence[Pair]) -> float:
    """Return the median of the pairs' ratios, which a single outlier does not affect."""
    return median(pair.measured / pair.baseline for pair in pairs)


def raw(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the medians and all individual durations, in seconds."""
    return {
        "measured_seconds": _rounded(median(pair.measured for pair in pairs)),
        "baseline_seconds": _rounded(median(pair.baseline for pair in pairs)),
        "all_measured_seconds": [_rounded(pair.measured) for pair in pairs],
        "all_baseline_seconds": [_rounded(pair.baseline) for pair in pairs],
    }


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")
