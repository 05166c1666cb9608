"""The pipe between two COPYs: bounded, ordered, and never silent about a failure."""

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


def read_all(stream: Pipe) -> bytes:
    read = stream.reader().read
    return b"".join(iter(lambda: read(CHUNK_BYTES), b""))


@given(st.lists(st.binary(max_size=2000) | st.integers(0, 3).map(lambda n: b"x" * (n * 300_000))))
def test_what_is_written_is_read_in_order_and_counted(rows: list[bytes]) -> None:
    stream = Pipe()

    def write() -> None:
        out = stream.writer()
        for row in rows:
            out.write(row)
        out.close()
        stream.end()

    thread = in_thread(write)
    assert read_all(stream) == b"".join(rows)
    thread.join(5)
    assert stream.bytes == sum(map(len, rows))


def test_a_writer_waits_for_its_reader_when_the_stream_is_full() -> None:
    stream = Pipe()
    written = []

    def write() -> None:
        for _ in range(MAX_CHUNKS + 5):
            stream.put(b"x" * CHUNK_BYTES)
            written.append(1)
        stream.end()

    thread = in_thread(write)
    time.sleep(0.2)
    assert len(written) == MAX_CHUNKS
    read_all(stream)
    thread.join(5)
    assert len(written) == MAX_CHUNKS + 5


def test_no_chunk_is_larger_than_the_bound_however_large_a_row_is() -> None:
    stream = Pipe()

    def write() -> None:
        stream.writer().write(b"x" * 5_000_000)
        stream.end()

    in_thread(write)
    read = stream.reader().read
    sizes = [len(chunk) for chunk in iter(lambda: read(CHUNK_BYTES), b"")]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= CHUNK_BYTES


def test_a_failed_writer_never_looks_like_the_end_of_the_data() -> None:
    stream = Pipe()
    stream.put(b"half a day")
    stream.end(failed=True)
    with pytest.raises(PipeFailedError):
        read_all(stream)
    assert isinstance(stream.interruption, PipeFailedError)


def test_a_writer_that_waits_is_woken_when_the_reader_goes() -> None:
    stream = Pipe()
    raised = []

    def write() -> None:
        try:
            while True:
                stream.put(b"x")
        except PipeClosedError as error:
            raised.append(error)

    thread = in_thread(write)
    time.sleep(0.1)
    stream.close()
    thread.join(5)
    assert not thread.is_alive()
    assert raised
    assert stream.interruption is None


def test_nothing_can_be_written_after_the_end() -> None:
    stream = Pipe()
    stream.end()
    with pytest.raises(PipeClosedError):
        stream.put(b"late")
