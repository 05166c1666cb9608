"""What the workers of a round sync: which days of which dataset, and how each is run.

All choices are made with the plan's random generator. For the faults, see `plan`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from sync_pipeline_tests.faults.tables import DATASETS, TABLES, Table
from sync_pipeline_tests.faults.world import DAYS, DAYS_SYNCED


class Form(str, Enum):
    """How a work item is run."""

    JOB = "job"  # the batch job, as a command runs it
    RANGE = "range"  # the asset over a day range, as a backfill runs it
    DAY = "day"  # the asset for a single day, which does not belong to a batch
    SCHEDULE = "schedule"  # the runs that the dataset's schedule requests
    LAUNCHER = "launcher"  # the batch job, launched by the product's run launcher


@dataclass(frozen=True)
class Work:
    """Days of one dataset to sync; the worker starts `starts_after` seconds into the round."""

    dataset: str
    first: int  # offset in days from the dataset's first day
    count: int
    resync: bool
    form: Form
    starts_after: float

    @property
    def fails_if_synced(self) -> bool:
        """Whether its days fail if they have rows, because they cannot be synced again."""
        return self.form is Form.RANGE and not TABLES[self.dataset].can_resync


def any_works(rng: Random) -> list[Work]:
    how_many = rng.choice([1, 1, 1, 1, 2, 2, 2, 3, 4])
    return [any_work(rng, rng.choice(DATASETS)) for _ in range(how_many)]


def works_of(*datasets: str) -> Callable[[Random], list[Work]]:
    """Return a function that returns works for some of `datasets`."""

    def works(rng: Random) -> list[Work]:
        return [any_work(rng, rng.choice(datasets)) for _ in range(rng.choice([1, 1, 2, 3]))]

    return works


def appending_works(rng: Random) -> list[Work]:
    """Return works for tables that only append; some sync days again that cannot be."""
    works = works_of("ledger", "journal")(rng)
    return [replace(work, form=Form.RANGE) if rng.random() < 0.4 else work for work in works]


def racing_works(rng: Random) -> list[Work]:
    dataset, first = rng.choice(DATASETS), rng.randrange(DAYS_SYNCED - 20, DAYS - 40)
    # Some workers start on the same day at the same time.
    starts = [first + rng.choice([0, 0, 0, 1, 2, 5]) for _ in range(rng.randint(2, 8))]
    return [any_work(rng, dataset, start) for start in starts]


def single_days(rng: Random) -> list[Work]:
    """Return runs for single days: several for the same day, and possibly a batch over that day."""
    dataset = rng.choice([name for name in DATASETS if TABLES[name].can_resync])
    day = rng.choice([rng.randrange(DAYS_SYNCED), rng.randrange(DAYS_SYNCED, DAYS - 20)])
    days = [day, *(rng.choice([day, day, day + 1]) for _ in range(rng.choice([0, 1, 2, 3])))]
    works = [replace(any_work(rng, dataset, day), count=1, form=Form.DAY) for day in days]
    if rng.random() < 0.3:
        works.append(replace(any_work(rng, dataset, max(0, day - 2)), resync=True))
    return works


def nightly_works(rng: Random) -> list[Work]:
    """Return a schedule's nightly run, and possibly a batch of the same dataset."""
    scheduled = {name: table.look_back_days for name, table in TABLES.items()}
    dataset, look_back = rng.choice(
        [(n, days) for n, days in scheduled.items() if days is not None]
    )
    # The day before the nightly run is usually not synced yet.
    last = rng.randrange(max(look_back, DAYS_SYNCED - 2), DAYS_SYNCED + 20)
    nightly = any_work(rng, dataset, last - look_back)
    works = [replace(nightly, count=look_back + 1, form=Form.SCHEDULE)]
    if rng.random() < 0.3:
        works.append(any_work(rng, dataset, max(0, last - rng.randrange(8))))
    return works


def crowded_works(rng: Random) -> list[Work]:
    """Return more works for a source than it has slots, each for other days."""
    limited = [name for name, table in TABLES.items() if table.max_connections is not None]
    dataset, count = rng.choice(limited), rng.randint(3, 6)
    works = [any_work(rng, dataset, DAYS_SYNCED + 10 * n) for n in range(count)]
    return [replace(work, count=min(work.count, 8), starts_after=0.0) for work in works]


def launched_works(rng: Random) -> list[Work]:
    """Return one or two works that the product's run launcher launches."""
    works = [any_work(rng, rng.choice(DATASETS)) for _ in range(rng.choice([1, 1, 2]))]
    return [replace(work, form=Form.LAUNCHER) for work in works]


def any_work(rng: Random, dataset: str, first: int | None = None) -> Work:
    table = TABLES[dataset]
    form = Form.RANGE if rng.random() < 0.3 and table.can_resync else Form.JOB
    return Work(
        dataset=dataset,
        first=_first_day(rng, table) if first is None else first,
        count=rng.randint(4, 20),
        resync=rng.random() < 0.6,
        form=form,
        starts_after=rng.choice([0.0, 0.0, round(rng.random() * 0.4, 2)]),
    )


def _first_day(rng: Random, table: Table) -> int:
    """Return a first day; the work may contain synced days, other days, or both."""
    # Only days without rows pass all steps of these tables.
    if table.partitioned or table.write == "append_only":
        near = rng.randrange(DAYS_SYNCED - 10, DAYS_SYNCED)
        return rng.choice([near, rng.randrange(DAYS_SYNCED, DAYS - 20)])
    return rng.randrange(DAYS - 20)
