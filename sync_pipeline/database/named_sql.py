"""Named queries: SQL kept in `.sql` files beside the code that runs it.

A file holds any number of statements, each headed by a line `-- name: what it does`. Values are
psycopg2 parameters (`%(name)s`); identifiers are never put into these texts.
"""

import re
from functools import cache
from importlib import resources

_HEADING = re.compile(r"^-- (?P<name>[a-z][a-z0-9_]*): .+$", re.M)


@cache
def load(package: str, file: str) -> dict[str, str]:
    """Return the statements of `file` in `package` by name."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    parts = _HEADING.split(text)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
