"""What the reconciler remembers comes back from its sensor's cursor, an older one's too."""

import pytest

from sync_pipeline.orchestration.recovery.cursor import ReadPosition, ReconcilerCursor, Suspicion

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "memory",
    [
        ReconcilerCursor(),
        ReconcilerCursor(
            17.0, {"run-1": Suspicion(5.0), "run-2": Suspicion(6.0, 2)}, {"a": ReadPosition(3, [5])}
        ),
    ],
)
def test_what_is_written_is_read(memory: ReconcilerCursor) -> None:
    assert ReconcilerCursor.read(memory.to_cursor()) == memory


def test_without_a_cursor_nothing_is_remembered() -> None:
    assert ReconcilerCursor.read(None) == ReconcilerCursor()


def test_what_was_suspected_before_an_upgrade_still_is() -> None:
    memory = ReconcilerCursor.read('{"looked_at": 17.0, "suspected": {"run-1": 5.0}}')
    assert memory.suspected == {"run-1": Suspicion(5.0)}
