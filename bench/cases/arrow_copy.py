"""Loading a million Arrow rows into PostgreSQL, compared with two alternative methods."""

from collections.abc import Callable

from bench import peers
from bench.pairs import measure_pairs, ratio, raw
from bench.results import Log, Result
from sync_pipeline.settings import Settings

ARROW_VS_CSV = "arrow_vs_csv"
ARROW_VS_ADBC = "arrow_vs_adbc"
_PAIRS = 5


def against_csv(settings: Settings, log: Log) -> Result:
    """Compare pgpq's binary COPY with a COPY of CSV written by pyarrow."""
    return _measure(settings, log, ARROW_VS_CSV, "csv", "pyarrow's CSV into COPY")


def against_adbc(settings: Settings, log: Log) -> Result:
    """Compare pgpq's binary COPY with adbc-driver-postgresql."""
    return _measure(settings, log, ARROW_VS_ADBC, "adbc", "adbc-driver-postgresql's ingest")


def _measure(settings: Settings, log: Log, case: str, method: str, against: str) -> Result:
    def load_with(name: str) -> Callable[[], float]:
        command = [peers.python(), peers.ARROW, name, settings.database_url]
        return lambda: float(peers.run(command)[1])

    pairs = measure_pairs(_PAIRS, load_with("pgpq"), load_with(method), log)
    return Result(
        case,
        "1,000,000 Arrow rows, pgpq's binary COPY",
        against,
        ratio(pairs),
        1.0,
        raw(pairs),
    )
