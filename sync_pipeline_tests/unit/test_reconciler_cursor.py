"""The reconciler's cursor is read back as it was written; an unreadable cursor is ignored."""

import pytest

from sync_pipeline.orchestration.recovery.cursor import ReconcilerCursor, Suspicion

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "cursor",
    [
        ReconcilerCursor(),
        ReconcilerCursor(
            17.0,
            {"run-1": Suspicion(5.0), "run-2": Suspicion(6.0, 2, 34)},
            9.0,
        ),
    ],
)
def test_a_cursor_is_read_back(cursor: ReconcilerCursor) -> None:
    assert ReconcilerCursor.read(cursor.to_json()) == cursor


def test_without_a_cursor_the_state_is_empty() -> None:
    assert ReconcilerCursor.read(None) == ReconcilerCursor()


@pytest.mark.parametrize(
    "text",
    [
        "12",
        "not JSON",
        '{"looked_at": 17.0, "suspected": {"run-1": 5.0}, "heard": {}, "runs_after": 9.0}',
        '{"last_run_at": 17.0, "suspected": {"run-1": {"x": 1}}, "runs_after": 9.0}',
    ],
)
def test_a_cursor_from_another_version_is_ignored(text: str) -> None:
    assert ReconcilerCursor.read(text) == ReconcilerCursor()
