"""Path patterns with a day and wildcards match only the right names."""

from datetime import date

import pytest

from sync_pipeline.config.sources.path_pattern import PathPattern, day_of_path, render_marker

pytestmark = pytest.mark.unit

DAY = date(2025, 10, 1)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/in/{day}.csv", ["", "in", "2025-10-01.csv"]),
        ("in/{day:%Y/%m/%d}/a.csv", ["in", "2025", "10", "01", "a.csv"]),
        ("s3://lake/{day:dt=%Y%m%d}/{{x}}", ["lake", "dt=20251001", "{x}"]),
        ("gs://lake/{day:%G-W%V-%u}.csv", ["lake", "2025-W40-3.csv"]),
    ],
)
def test_the_day_is_formatted_in_the_path(path: str, names: list[str]) -> None:
    assert [name.literal for name in PathPattern(path).names(DAY)] == names


def test_a_year_before_1000_has_four_digits() -> None:
    assert PathPattern("{day:%Y}.csv").names(date(33, 4, 5))[0].literal == "0033.csv"


@pytest.mark.parametrize(
    ("pattern", "matching", "not_matching"),
    [
        ("a-*.csv", ["a-.csv", "a-1.csv"], ["b-1.csv", "a-1.csv.gz", "a-1_csv"]),
        ("part-?.csv", ["part-1.csv"], ["part-.csv", "part-10.csv"]),
        ("*", ["a", "日本"], ["_SUCCESS", ".a.csv.tmp"]),
        ("_*", ["_a"], ["a"]),
        ("[1]+*.csv", ["[1]+2.csv"], ["12.csv"]),
        ("{day:%Y-%m-%d}*.csv", ["2025-10-01b.csv"], ["2025-10-02.csv"]),
    ],
)
def test_a_wildcard_matches_within_one_name_that_is_not_hidden(
    pattern: str, matching: list[str], not_matching: list[str]
) -> None:
    (name,) = PathPattern(pattern).names(DAY)
    assert [names for names in matching + not_matching if name.rank(names)] == matching


def test_names_sort_by_their_day_in_any_format() -> None:
    (name,) = PathPattern("x-{day:%d.%m.%Y}.csv").names(None)
    names = ["x-03.02.2025.csv", "x-01.12.2024.csv", "x-02.03.2025.csv", "x-1.1.2026.csv"]
    matching = [text for text in names if name.rank(text)]
    assert max(matching, key=lambda text: name.rank(text) or ()) == "x-02.03.2025.csv"
    assert len(matching) == 3


@pytest.mark.parametrize(
    ("path", "daily"),
    [
        ("{day:%Y/%m/%d}.csv", True),
        ("{day:%Y}/{day:%j}.csv", True),
        ("{day:%G%V%u}.csv", True),
        ("{day:%Y-%m}.csv", False),
        ("{day:%m-%d}.csv", False),
        ("all.csv", False),
    ],
)
def test_a_path_is_daily_if_each_day_has_a_different_one(path: str, daily: bool) -> None:
    assert PathPattern(path).is_daily is daily


def test_the_day_is_parsed_from_a_path() -> None:
    names = PathPattern("{day:%Y/%m}/{day:%Y%m%d}-*.csv").names(None)
    assert day_of_path(names, ["2025", "10", "20251001-7.csv"]) == DAY
    assert day_of_path(names, ["2025", "10", "20251301-7.csv"]) is None
    assert day_of_path(PathPattern("a.csv").names(None), ["a.csv"]) is None


def test_a_marker_contains_the_files_name_and_the_day() -> None:
    assert render_marker("{file}.{day:%d}.done", DAY, "a.csv") == "a.csv.01.done"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ftp://host/a.csv", "begin with s3:// or gs://"),
        ("s3://bucket", "must contain a bucket and a path"),
        ("s3://{day}/a.csv", "must contain a bucket"),
        ("s3://me:secret@bucket/a.csv", "and no keys or passwords"),
        ("in/", "must end with a file name"),
        ("in/**/a.csv", r"\*\* is not supported"),
        ("{date}.csv", "{date} is not supported"),
        ("{day:%Y-%b}.csv", "%b is not supported"),
        ("{day", "expected '}'"),
    ],
)
def test_an_invalid_path_is_rejected_with_a_reason(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PathPattern(path)
