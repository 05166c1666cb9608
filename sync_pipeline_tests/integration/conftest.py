"""What only tests of the database layers use."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def one_database(make_database: Callable[[str | None], str], migrated_template: str) -> str:
    """A database with the tracking tables for all tests of a module, which each clear it."""
    return make_database(migrated_template)
