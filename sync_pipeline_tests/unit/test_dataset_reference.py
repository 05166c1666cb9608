"""docs/datasets.md, which is generated from the models, is up to date and describes every key."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from scripts import dataset_reference
from sync_pipeline.config.dataset import DatasetSettings, Every, Percent
from sync_pipeline.settings import PROJECT_ROOT

pytestmark = pytest.mark.unit


def models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for models in dataset_reference.mappings_of(model).values():
        for one in models:
            yield from models_below(one)


MODELS: list[type[BaseModel]] = [*models_below(DatasetSettings), Every, Percent]


def test_the_file_is_up_to_date() -> None:
    command = [sys.executable, "-m", "scripts.dataset_reference", "--check"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_file_that_differs_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset_reference, "render", lambda: "another text")
    assert dataset_reference.main(["--check"]) == 1
    assert "run: python -m scripts.dataset_reference" in capsys.readouterr().out


def test_the_models_for_all_mappings_are_found() -> None:
    names = {model.__name__ for model in MODELS}
    assert {"PostgresTarget", "Volume", "RestSource", "Csv", "OAuth2Auth", "Offset"} <= names


@pytest.mark.parametrize("model", MODELS)
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.description, name
