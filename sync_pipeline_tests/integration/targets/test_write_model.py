"""After any sequence of syncs, the target has the same rows as a simple model of its write mode."""

from collections import Counter
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.sync.days import Outcome
from sync_pipeline_tests.integration import helpers
from sync_pipeline_tests.integration.sources.conftest import Syncing
from sync_pipeline_tests.integration.targets.conftest import Row, Writing

pytestmark = pytest.mark.integration

MODES: dict[str, dict[str, Any]] = {
    "replace_day": {},
    "upsert": {"write": "upsert", "key": ["id"]},
    "append_only": {"write": "append_only", "key": ["id"]},
    "append_only_days": {"write": "append_only"},
}
PLAIN = "CREATE TABLE landed (id bigint, note text CHECK (note <> 'bad'), sync_date date)"
Landed = tuple[int | None, str | None, date]

rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.one_of(st.integers(0, 6), st.none()),
            "note": st.sampled_from(["a", "b", "c", "", None, "bad", "tab\t\\N\n"]),
        }
    ),
    max_size=6,
)
clean_rows = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 6), "note": st.sampled_from(["a", "b", None])}),
    unique_by=lambda row: row["id"],
    max_size=6,
)
steps = st.lists(
    st.tuples(st.sampled_from(helpers.days(3)), st.one_of(rows, clean_rows)), max_size=6
)


class Model:
    """The rows expected in the target according to the write modes' documentation."""

    def __init__(self, mode: str, *, quarantines: bool) -> None:
        self.landed: list[Landed] = []
        self._mode = mode
        self._quarantines = quarantines

    def sync(self, day: date, given: list[Row]) -> tuple[int, int] | None:
        """Return the numbers of rows loaded and rejected, or None if the day fails."""
        of_day = [one for one in self.landed if one[2] == day]
        if self._mode == "append_only_days" and of_day:
            return None
        good = [one for one in self._first_per_key(given) if one["note"] != "bad"]
        if len(good) < len(given) and not self._quarantines:
            return None
        new = {one["id"]: (one["id"], one["note"], day) for one in good}
        if self._mode == "upsert":
            kept = [one for one in self.landed if one[0] not in new]
            self.landed = [*kept, *new.values()]
        elif self._mode == "append_only":
            known = {one[0] for one in self.landed}
            self.landed += [one for key, one in new.items() if key not in known]
        else:
            others = [one for one in self.landed if one[2] != day]
            self.landed = others + [(one["id"], one["note"], day) for one in good]
        return len(good), len(given) - len(good)

    def _first_per_key(self, given: list[Row]) -> list[Row]:
        if "key" not in MODES[self._mode]:
            return given
        first: dict[int, Row] = {}
        for one in given:
            if one["id"] is not None:
                first.setdefault(one["id"], one)
        return list(first.values())


@pytest.mark.parametrize("partitioned", [False, True], ids=["plain", "partitioned"])
@pytest.mark.parametrize("quarantines", [False, True], ids=["fail", "quarantine"])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=12)
@given(to_do=steps)
def test_the_target_has_the_same_rows_as_the_model(
    one_database: str, mode: str, quarantines: bool, partitioned: bool, to_do: list[Any]
) -> None:
    helpers.clear(one_database)
    keyed = "key" in MODES[mode]
    if partitioned and keyed:
        return  # the key of a partitioned table would have to include the day
    by = "PARTITION BY RANGE (sync_date)" if partitioned else ""
    helpers.run(
        one_database,
        "DROP TABLE IF EXISTS landed, sync_rejected_row",
        f"{PLAIN} {by}",
        "CREATE UNIQUE INDEX ON landed (id)" if keyed else "SELECT",
    )
    writing = Writing(Syncing(one_database))
    model = Model(mode, quarantines=quarantines)
    target = MODES[mode] | {"on_bad_row": "quarantine" if quarantines else "fail"}
    for day, of_day in to_do:
        writing.give(day, *of_day)
        expected = model.sync(day, of_day)
        done = writing.one(day, **target)
        assert (done.outcome is Outcome.SUCCESS) == (expected is not None), done.error
        if done.counts is not None and expected is not None:
            counts = (done.counts.rows_loaded, done.counts.rows_rejected)
            assert counts == expected
        landed = helpers.run(one_database, "SELECT id, note, sync_date FROM landed")
        assert Counter(landed) == Counter(model.landed)
