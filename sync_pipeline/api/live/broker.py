"""Distributes events to all open event streams of this process.

A stream whose client reads too slowly is reset. Not thread-safe: call it only from the event loop.
Does not read changes from the database: see `listener.py`.
"""

import asyncio
from enum import Enum

from sync_pipeline.api.security.tokens import Caller

MAX_STREAMS = 2000
_MAX_PER_CALLER = 200  # applies to all sessions and programs that share a token
_MAX_QUEUED = 32  # in chunks; enough for several seconds of changes


class StreamSignal(Enum):
    """A signal that a stream can receive instead of a chunk."""

    RESET = "reset"
    END = "end"


def ping(live: bool) -> bytes:
    """Return the ping event; `live` says whether changes are being received."""
    return f'event: ping\ndata: {{"live": {"true" if live else "false"}}}\n\n'.encode()


class Stream:
    """One event stream: its caller and its queue.

    If the queue is full, its chunks are dropped and the stream is reset.
    """

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._queue: asyncio.Queue[bytes | StreamSignal] = asyncio.Queue(_MAX_QUEUED)

    async def next(self, seconds: float) -> bytes | StreamSignal | None:
        """Return the next item, or None if none arrives within `seconds`."""
        try:
            return await asyncio.wait_for(self._queue.get(), seconds)
        except asyncio.TimeoutError:
            return None

    def put(self, item: bytes | StreamSignal) -> None:
        """Add an item to the queue."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(StreamSignal.RESET)
        self._queue.put_nowait(item)


class Broker:
    """All event streams of this process, at most `max_streams`.

    `live` is True while changes are being received from the database.
    """

    def __init__(self) -> None:
        self.max_streams = MAX_STREAMS
        self.live = False
        self._streams: set[Stream] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._streams)

    def is_full(self, caller: Caller) -> bool:
        """Return whether no more streams can be opened, in total or by `caller`."""
        if len(self) >= self.max_streams:
            return True
        own = sum(stream.caller.name == caller.name for stream in self._streams)
        return caller.how != "local" and own >= _MAX_PER_CALLER

    def join(self, caller: Caller) -> Stream:
        """Return a new stream, which receives everything published from now on."""
        stream = Stream(caller)
        self._streams.add(stream)
        if self._closed:
            stream.put(StreamSignal.END)
        return stream

    def leave(self, stream: Stream) -> None:
        """Remove a stream."""
        self._streams.discard(stream)

    def publish(self, item: bytes | StreamSignal) -> None:
        """Send an item to every stream."""
        for stream in self._streams:
            stream.put(item)

    def set_live(self, live: bool) -> None:
        """Set `live`; if it changed, send a ping to every stream."""
        if live != self.live:
            self.live = live
            self.publish(ping(live))

    def end_session(self, session: str) -> None:
        """End the streams of a session."""
        for stream in self._streams:
            if stream.caller.session == session:
                stream.put(StreamSignal.END)

    def close(self) -> None:
        """End all streams; from now on, every new stream ends as soon as it is opened."""
        self._closed = True
        self.publish(StreamSignal.END)
