"""A bounded pipe in memory between a thread that writes a day and the thread that loads it.

Bytes only; it knows nothing of databases. The driver writes once per row and reads once per
chunk, so what runs per row is the standard library's buffer, in C, and Python runs per chunk.
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


class StreamClosedError(Exception):
    """The stream has ended or its reader has gone: what is written now would reach nobody."""


class StreamFailedError(Exception):
    """The writer failed: what was read so far must not be kept."""


class Stream:
    """At most `MAX_CHUNKS` chunks of at most `CHUNK_BYTES` bytes, for one writer and one reader.

    `bytes` counts what the reader has taken. `interruption` is the exception that ended a read.
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
        """Return the writer's end. Flush it before `end`; it blocks while the stream is full."""
        return io.BufferedWriter(_ChunkWriter(self), CHUNK_BYTES)

    def reader(self) -> Any:
        """Return the reader's end: an object with `read(size)`, which returns the next chunk."""
        return SimpleNamespace(read=self._reads.send)

    def put(self, chunk: bytes) -> None:
        """Append `chunk`, waiting for room. Raises StreamClosedError after `end` or `close`."""
        with self._changed:
            while len(self._chunks) >= MAX_CHUNKS and not self._closed:
                self._changed.wait()
            if self._closed or self._ended:
                raise StreamClosedError
            self._chunks.append(chunk)
            self._changed.notify()

    def end(self, *, failed: bool = False) -> None:
        """Say that no more will be written; `failed` makes the next read raise."""
        with self._changed:
            self._ended = True
            self._failed = failed
            self._changed.notify()

    def close(self) -> None:
        """Say that no more will be read: a writer that waits or writes on gets an error."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify()
        self._reads.close()

    def _read(self) -> Generator[bytes, int, None]:
        """Yield the chunks, then b"" for the end; `send(size)` is the driver's `read(size)`.

        A generator, because the driver replaces whatever a read raises by an error of its own.
        A signal's exception, such as KeyboardInterrupt, is raised on entering Python code: in a
        method that is before its `try`, in a generator resumed at its `yield` it is inside.
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
                raise StreamFailedError
            if not self._chunks:
                return b""
            self._changed.notify()
            return self._chunks.popleft()


class _ChunkWriter(io.RawIOBase):
    """Cuts what the standard library's buffer flushes into chunks of bounded size."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        chunk = bytes(memoryview(data)[:CHUNK_BYTES])  # the caller uses its buffer again
        self._stream.put(chunk)
        return len(chunk)  # less than given: the buffer calls again with the rest
