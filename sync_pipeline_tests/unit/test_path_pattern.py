"""Paths with a day and wildcards in them mean the names they say, and no other."""

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
def test_a_day_stands_in_the_path_as_its_form_says(path: str, names: list[str]) -> None:
    assert [name.literal for name in PathPattern(path).names(DAY)] == names


def test_a_year_before_1000_has_four_digits() -> None:
    assert PathPattern("{day:%Y}.csv").names(date(33, 4, 5))[0].literal == "0033.csv"


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("a-*.csv", ["a-.csv", "a-1.csv"], ["b-1.csv", "a-1.csv.gz", "a-1_csv"]),
        ("part-?.csv", ["part-1.csv"], ["part-.csv", "part-10.csv"]),
        ("*", ["a", "日本"], ["_SUCCESS", ".a.csv.tmp"]),
        ("_*", ["_a"], ["a"]),
        ("[1]+*.csv", ["[1]+2.csv"], ["12.csv"]),
        ("{day:%Y-%m-%d}*.csv", ["2025-10-01b.csv"], ["2025-10-02.csv"]),
    ],
)
def test_a_wildcard_means_a_part_of_one_name_that_is_not_hidden(
    pattern: str, meant: list[str], not_meant: list[str]
) -> None:
    (name,) = PathPattern(pattern).names(DAY)
    assert [given for given in meant + not_meant if name.rank(given)] == meant


def test_names_of_any_day_sort_by_the_day_in_whatever_form() -> None:
    (name,) = PathPattern("x-{day:%d.%m.%Y}.csv").names(None)
    given = ["x-03.02.2025.csv", "x-01.12.2024.csv", "x-02.03.2025.csv", "x-1.1.2026.csv"]
    meant = [text for text in given if name.rank(text)]
    assert max(meant, key=lambda text: name.rank(text) or ()) == "x-02.03.2025.csv"
    assert len(meant) == 3


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
def test_a_path_is_daily_if_no_two_days_share_one(path: str, daily: bool) -> None:
    assert PathPattern(path).is_daily is daily


def test_the_day_is_read_back_from_a_path() -> None:
    names = PathPattern("{day:%Y/%m}/{day:%Y%m%d}-*.csv").names(None)
    assert day_of_path(names, ["2025", "10", "20251001-7.csv"]) == DAY
    assert day_of_path(names, ["2025", "10", "20251301-7.csv"]) is None
    assert day_of_path(PathPattern("a.csv").names(None), ["a.csv"]) is None


def test_a_marker_takes_the_files_name_and_the_day() -> None:
    assert render_marker("{file}.{day:%d}.done", DAY, "a.csv") == "a.csv.01.done"


@pytest.mark.parametrize(
    ("path", "said"),
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
def test_a_path_that_cannot_be_is_refused_with_what_is_wrong(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PathPattern(path)
