"""Errors about settings name the missing or invalid setting, and never show its value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from sync_pipeline.errors import SettingError
from sync_pipeline.settings import (
    PROJECT_ROOT,
    Settings,
    current_settings,
    load_settings,
    with_database,
    with_search_path,
)

pytestmark = pytest.mark.unit

TARGET = "postgresql://ada:pw@db:5433/target"
# Database names; `with_database` percent-encodes them.
database_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def settings_of(**values: str) -> Settings:
    return Settings(values)


def test_a_missing_target_url_names_the_setting_and_what_to_do() -> None:
    with pytest.raises(SettingError, match=r"SYNC_DATABASE_URL is not set\. Set it to postgresql:"):
        _ = settings_of().database_url


def test_a_blank_url_counts_as_not_set() -> None:
    with pytest.raises(SettingError, match="SYNC_DATABASE_URL is not set"):
        _ = settings_of(SYNC_DATABASE_URL="  ").database_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3/cret@db/target",
        "postgresql://ada:12/cret@db/target",
        "postgresql://ada:s3#cret@db/target",
        "postgresql://ada:12#cret@db/target",
        "postgresql://ada:s3@cret@db/target",
        "postgresql://ada:pw@db:cret/target",
        "postgresql://[cret/target",
    ],
)
def test_a_malformed_url_is_rejected_without_being_shown(url: str) -> None:
    with pytest.raises(SettingError, match=r"SYNC_SOURCE_URL .* must be percent-encoded") as caught:
        settings_of(SYNC_SOURCE_URL=url).postgres_url("SYNC_SOURCE_URL")
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__, "the cause's text shows part of the URL"


@pytest.mark.parametrize("url", ["mysql://ada:secret@db/target", "db:5432/target", "target"])
def test_a_url_that_is_not_for_postgresql_is_rejected_without_being_shown(url: str) -> None:
    with pytest.raises(SettingError, match=r"SYNC_DATABASE_URL must begin with postgresql://") as e:
        _ = settings_of(SYNC_DATABASE_URL=url).database_url
    assert "secret" not in str(e.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_scheme_is_replaced_by_the_one_that_libpq_accepts(scheme: str) -> None:
    assert settings_of(SYNC_DATABASE_URL=f"{scheme}://ada:pw@db:5433/target").database_url == TARGET


@pytest.mark.parametrize(
    "url", ["postgresql:///target?host=/run/pg", "postgresql://ada@/target?host=/run/pg"]
)
def test_a_host_in_the_query_is_kept(url: str) -> None:
    settings = settings_of(SYNC_DATABASE_URL=url)
    expected = {"dbname": "target", "host": "/run/pg"}
    assert parse_dsn(settings.database_url).items() >= expected.items()
    dagster = settings.dagster_storage_url.replace("+psycopg2", "")
    assert parse_dsn(dagster).items() >= expected.items()


def test_the_tracking_database_is_the_target_unless_it_is_set() -> None:
    assert settings_of(SYNC_DATABASE_URL=TARGET).tracking_url == TARGET
    separate = settings_of(SYNC_DATABASE_URL=TARGET, SYNC_TRACKING_URL="postgres://db/tracking")
    assert separate.tracking_url == "postgresql://db/tracking"


def test_the_error_for_an_invalid_tracking_url_names_its_setting() -> None:
    with pytest.raises(SettingError, match="SYNC_TRACKING_URL"):
        _ = settings_of(SYNC_DATABASE_URL=TARGET, SYNC_TRACKING_URL="mysql://db/x").tracking_url


def test_dagsters_storage_is_a_schema_of_the_target_by_default() -> None:
    url = settings_of(SYNC_DATABASE_URL=TARGET).dagster_storage_url
    assert url == ("postgresql+psycopg2://ada:pw@db:5433/target?options=-csearch_path%3Ddagster")


def test_a_separate_dagster_database_is_used_unchanged() -> None:
    url = settings_of(
        SYNC_DATABASE_URL=TARGET, SYNC_DAGSTER_STORAGE_URL="postgresql://db/dagster"
    ).dagster_storage_url
    assert url == "postgresql+psycopg2://db/dagster"


def test_the_search_path_is_added_to_existing_options() -> None:
    url = with_search_path(
        "postgresql://db/x?options=-cstatement_timeout%3D1&application_name=a+b&sslcert=", "s"
    )
    parameters = parse_dsn(url)
    assert parameters["options"] == "-cstatement_timeout=1 -csearch_path=s"
    assert parameters["application_name"] == "a+b", "libpq does not decode + as a space"


@given(database_names)
def test_with_database_changes_only_the_name(name: str) -> None:
    url = with_database("postgresql://ada:pw@/old?host=%2Frun&connect_timeout=3", name)
    assert parse_dsn(url) == {
        "user": "ada",
        "password": "pw",
        "dbname": name,
        "host": "/run",
        "connect_timeout": "3",
    }


def test_settings_never_print_a_value() -> None:
    settings = settings_of(SYNC_DATABASE_URL=TARGET)
    assert "pw" not in f"{settings!r} {settings}"


def test_the_data_folder_is_absolute_and_a_tilde_is_expanded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_of(SYNC_DATA_DIR="~/data").data_dir == tmp_path / "data"
    assert settings_of().data_dir == PROJECT_ROOT / ".data"


def test_the_page_url_has_no_trailing_slash_and_is_optional() -> None:
    assert settings_of(SYNC_PAGE_URL="http://host:8000/").page_url == "http://host:8000"
    assert settings_of().page_url is None


def test_current_settings_reads_the_environment_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_PAGE_URL", "http://one")
    first = current_settings()
    monkeypatch.setenv("SYNC_PAGE_URL", "http://two")
    assert (first.page_url, current_settings().page_url) == ("http://one", "http://two")


def test_a_worker_may_miss_heartbeats_for_20_seconds_by_default() -> None:
    assert settings_of().lost_after_seconds == 20
    assert settings_of(SYNC_LOST_AFTER_SECONDS=" 2.5 ").lost_after_seconds == 2.5


def test_the_daemon_checks_for_backfills_every_2_seconds_by_default() -> None:
    assert settings_of().backfill_interval_seconds == 2
    assert settings_of(SYNC_BACKFILL_INTERVAL_SECONDS="30").backfill_interval_seconds == 30


@pytest.mark.parametrize("text", ["soon", "0", "-3", "3601", "nan"])
def test_an_invalid_number_of_seconds_is_rejected(text: str) -> None:
    with pytest.raises(SettingError, match=r"SYNC_LOST_AFTER_SECONDS is .* from 1 to 3600"):
        _ = settings_of(SYNC_LOST_AFTER_SECONDS=text).lost_after_seconds
    with pytest.raises(SettingError, match=r"SYNC_BACKFILL_INTERVAL_SECONDS is .* from 1 to 3600"):
        _ = settings_of(SYNC_BACKFILL_INTERVAL_SECONDS=text).backfill_interval_seconds


def test_runs_are_forked_unless_the_setting_is_false() -> None:
    assert settings_of().fork_runs
    assert not settings_of(SYNC_FORK_RUNS=" False ").fork_runs
    with pytest.raises(SettingError, match="SYNC_FORK_RUNS is 'no'; set it to true or false"):
        _ = settings_of(SYNC_FORK_RUNS="no").fork_runs


def test_the_environment_overrides_the_projects_env_file_and_that_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / ".env").write_text(f"SYNC_PROJECT_DIR={project}\nA_URL=checkout\nB_URL=checkout\n")
    (project / ".env").write_text("B_URL=project\nC_URL=project\n")
    monkeypatch.delenv("SYNC_PROJECT_DIR", raising=False)
    monkeypatch.setenv("C_URL", "environment")
    found = load_settings(tmp_path).environment
    assert [found[f"{name}_URL"] for name in "ABC"] == ["checkout", "project", "environment"]


def test_the_error_names_a_data_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = settings_of(SYNC_DATA_DIR=str(tmp_path / "file"))
    with pytest.raises(SettingError, match=r"SYNC_DATA_DIR: the folder .*/file cannot be created"):
        settings.make_data_dir()
