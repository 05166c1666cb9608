"""`Pipe`: a bounded in-memory pipe from the thread that reads a day to the thread that loads it.

Carries bytes only; see `day_reader.py` for the thread that fills it. The driver writes once per row
and reads once per chunk, so writes go through a standard library buffer that is implemented in C.
"""

import io
import threading
from collections import deque
from collections.abc import Generator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CHUNK_BYTES = 256 * 1024
MAX_CHUNKS = 8


class PipeClosedError(Exception):
    """The pipe was closed by its reader, or ended by its writer, so nothing more can be written."""


class PipeFailedError(Exception):
    """The writer failed, so the data read so far is incomplete and must be discarded."""


class Pipe:
    """Holds at most `MAX_CHUNKS` chunks of `CHUNK_BYTES` bytes, for one writer and one reader.

    `bytes` is the number of bytes read. `interruption` is the exception that interrupted a read.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.interruption: BaseException | None = None
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._ended = False
        self._failed = False
        self._closed = False
        self._reads = self._read()
        next(self._reads)

    def writer(self) -> io.BufferedWriter:
        """Return the write end. It blocks while the pipe is full; flush it before calling `end`."""
        return io.BufferedWriter(_ChunkWriter(self), CHUNK_BYTES)

    def reader(self) -> Any:
        """Return the read end: an object whose `read(size)` returns the next chunk."""
        return SimpleNamespace(read=self._reads.send)

    def put(self, chunk: bytes) -> None:
        """Append `chunk`; block while the pipe is full. Raises PipeClosedError after `end` or
        `close`."""
        with self._changed:
            while len(self._chunks) >= MAX_CHUNKS and not self._closed:
                self._changed.wait()
            if self._closed or self._ended:
                raise PipeClosedError
            self._chunks.append(chunk)
            self._changed.notify()

    def end(self, *, failed: bool = False) -> None:
        """Mark the end of the data. If `failed`, the next read raises PipeFailedError."""
        with self._changed:
            self._ended = True
            self._failed = failed
            self._changed.notify()

    def close(self) -> None:
        """Stop reading. A blocked or later write raises PipeClosedError."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify()
        self._reads.close()

    def _read(self) -> Generator[bytes, int, None]:
        """Yield the chunks, then b"" at the end; the driver's `read(size)` calls `send(size)`.

        The driver replaces any exception that `read` raises, so `interruption` keeps it. This
        requires a generator: a signal handler's exception, such as KeyboardInterrupt, is raised
        when Python code is entered. In a method, that is before the `try` block; a generator
        resumes at its `yield`, inside the block.
        """
        chunk = b""
        try:
            while True:
                yield chunk
                chunk = self._take()
                self.bytes += len(chunk)
        except GeneratorExit:
            raise  # closed, not interrupted
        except BaseException as error:
            self.interruption = error
            raise

    def _take(self) -> bytes:
        with self._changed:
            while not self._chunks and not self._ended:
                self._changed.wait()
            if self._failed:
                raise PipeFailedError
            if not self._chunks:
                return b""
            self._changed.notify()
            return self._chunks.popleft()


class _ChunkWriter(io.RawIOBase):
    """Splits the data that it receives into chunks of bounded size and puts them in the pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        chunk = bytes(memoryview(data)[:CHUNK_BYTES])  # a copy, since the caller reuses its buffer
        self._pipe.put(chunk)
        return len(chunk)  # if this is less than the data, the buffer writes the rest
