"""Who listens to the event stream: each gets every chunk, and a slow one is told to begin anew.

All of it runs in the event loop.
"""

import asyncio
from enum import Enum

_MOST_WAITING = 32  # chunks; some seconds' worth


class Word(Enum):
    """What a stream is told, other than a chunk."""

    RESET = "it missed too much"
    END = "the server ends"


class Stream:
    """One listener's queue. What it is told when it is full, it misses, and is told so."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | Word] = asyncio.Queue(_MOST_WAITING)

    async def next(self, seconds: float) -> bytes | Word | None:
        """Return what comes next; None if nothing does for so long."""
        try:
            return await asyncio.wait_for(self._queue.get(), seconds)
        except asyncio.TimeoutError:
            return None

    def put(self, what: bytes | Word) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(Word.RESET)
        self._queue.put_nowait(what)


class Broker:
    """All streams of this process."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._streams)

    def join(self) -> Stream:
        """Return a new listener's stream, which gets what is published from here on."""
        stream = Stream()
        self._streams.add(stream)
        if self._ended:
            stream.put(Word.END)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        self._streams.discard(stream)

    def publish(self, what: bytes | Word) -> None:
        """Give every stream this."""
        for stream in self._streams:
            stream.put(what)

    def end(self) -> None:
        """Let every stream end, and those that come."""
        self._ended = True
        self.publish(Word.END)
