"""Named queries: SQL in `.sql` files next to the code that runs it.

Each statement in a file has a heading of the form `-- name: what it does`. Values are psycopg2
parameters (`%(name)s`); identifiers are never parameters. The caller runs the statements.
"""

import re
from functools import cache
from importlib import resources

_HEADING = re.compile(r"^-- (?P<name>[a-z][a-z0-9_]*): .+$", re.M)


@cache
def load(package: str, file: str) -> dict[str, str]:
    """Return the statements in the file `file` of `package`, keyed by name."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    parts = _HEADING.split(text)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
