"""How a million rows of Arrow get into PostgreSQL: the way we take against the ways we do not."""

from collections.abc import Callable

from bench import peers
from bench.pairs import measure_pairs, ratio, raw
from bench.results import Result, Say
from sync_pipeline.settings import Settings

ARROW_VS_CSV = "arrow_vs_csv"
ARROW_VS_ADBC = "arrow_vs_adbc"
_PAIRS = 5


def against_csv(settings: Settings, say: Say) -> Result:
    """pgpq's binary COPY against pyarrow's CSV into COPY."""
    return _measure(settings, say, ARROW_VS_CSV, "csv", "pyarrow's CSV into COPY")


def against_adbc(settings: Settings, say: Say) -> Result:
    """pgpq's binary COPY against adbc-driver-postgresql."""
    return _measure(settings, say, ARROW_VS_ADBC, "adbc", "adbc-driver-postgresql's ingest")


def _measure(settings: Settings, say: Say, case: str, way: str, against: str) -> Result:
    def by(name: str) -> Callable[[], float]:
        command = [peers.python(), peers.ARROW, name, settings.database_url]
        return lambda: float(peers.run(command)[1])

    pairs = measure_pairs(_PAIRS, by("pgpq"), by(way), say)
    return Result(
        case,
        "1,000,000 rows of Arrow, pgpq's binary COPY",
        against,
        ratio(pairs),
        1.0,
        raw(pairs),
    )
