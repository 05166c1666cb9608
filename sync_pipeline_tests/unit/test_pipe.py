"""The pipe between the reader and the loader is bounded and ordered, and reports every failure."""

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.targets.pipe import (
    CHUNK_BYTES,
    MAX_CHUNKS,
    Pipe,
    PipeClosedError,
    PipeFailedError,
)

pytestmark = pytest.mark.unit


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def read_all(pipe: Pipe) -> bytes:
    read = pipe.reader().read
    return b"".join(iter(lambda: read(CHUNK_BYTES), b""))


@given(st.lists(st.binary(max_size=2000) | st.integers(0, 3).map(lambda n: b"x" * (n * 300_000))))
def test_data_is_counted_and_read_in_the_order_it_was_written(rows: list[bytes]) -> None:
    pipe = Pipe()

    def write() -> None:
        out = pipe.writer()
        for row in rows:
            out.write(row)
        out.close()
        pipe.end()

    thread = in_thread(write)
    assert read_all(pipe) == b"".join(rows)
    thread.join(5)
    assert pipe.bytes == sum(map(len, rows))


def test_a_writer_blocks_while_the_pipe_is_full() -> None:
    pipe = Pipe()
    written = []

    def write() -> None:
        for _ in range(MAX_CHUNKS + 5):
            pipe.put(b"x" * CHUNK_BYTES)
            written.append(1)
        pipe.end()

    thread = in_thread(write)
    time.sleep(0.2)
    assert len(written) == MAX_CHUNKS
    read_all(pipe)
    thread.join(5)
    assert len(written) == MAX_CHUNKS + 5


def test_no_chunk_exceeds_the_maximum_size_even_for_large_rows() -> None:
    pipe = Pipe()

    def write() -> None:
        pipe.writer().write(b"x" * 5_000_000)
        pipe.end()

    in_thread(write)
    read = pipe.reader().read
    sizes = [len(chunk) for chunk in iter(lambda: read(CHUNK_BYTES), b"")]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= CHUNK_BYTES


def test_a_failed_writer_is_not_mistaken_for_the_end_of_the_data() -> None:
    pipe = Pipe()
    pipe.put(b"half a day")
    pipe.end(failed=True)
    with pytest.raises(PipeFailedError):
        read_all(pipe)
    assert isinstance(pipe.interruption, PipeFailedError)


def test_a_blocked_writer_wakes_up_when_the_reader_closes_the_pipe() -> None:
    pipe = Pipe()
    raised = []

    def write() -> None:
        try:
            while True:
                pipe.put(b"x")
        except PipeClosedError as error:
            raised.append(error)

    thread = in_thread(write)
    time.sleep(0.1)
    pipe.close()
    thread.join(5)
    assert not thread.is_alive()
    assert raised
    assert pipe.interruption is None


def test_nothing_can_be_written_after_the_end() -> None:
    pipe = Pipe()
    pipe.end()
    with pytest.raises(PipeClosedError):
        pipe.put(b"late")
