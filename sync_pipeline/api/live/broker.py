"""Who listens to the event stream: each gets every chunk, and a slow one is told to begin anew.

All of it runs in the event loop.
"""

import asyncio
from enum import Enum

from sync_pipeline.api.security.tokens import Caller

_MAX_WAITING = 32  # chunks; some seconds' worth


class StreamSignal(Enum):
    """What a stream is told, other than a chunk."""

    RESET = "it missed too much"
    END = "the server ends"


MAX_STREAMS = 2000
_MAX_OF_ONE = 200  # of a token's holder, with all browsers and programs


def ping(live: bool) -> bytes:
    """Return the event that says whether changes are heard of."""
    return f'event: ping\ndata: {{"live": {"true" if live else "false"}}}\n\n'.encode()


class Stream:
    """One listener's queue, and who it is. What it is told when it is full, it misses, and is told
    so."""

    def __init__(self, of: Caller) -> None:
        self.of = of
        self._queue: asyncio.Queue[bytes | StreamSignal] = asyncio.Queue(_MAX_WAITING)

    async def next(self, seconds: float) -> bytes | StreamSignal | None:
        """Return what comes next; None if nothing does for so long."""
        try:
            return await asyncio.wait_for(self._queue.get(), seconds)
        except asyncio.TimeoutError:
            return None

    def put(self, what: bytes | StreamSignal) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(StreamSignal.RESET)
        self._queue.put_nowait(what)


class Broker:
    """All streams of this process, at most `most`. `live`: changes are heard of."""

    def __init__(self) -> None:
        self.most = MAX_STREAMS
        self.live = False
        self._streams: set[Stream] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._streams)

    def is_full(self, caller: Caller) -> bool:
        """Return whether there is no room for another stream of `caller`."""
        if len(self) >= self.most:
            return True
        own = sum(stream.of.name == caller.name for stream in self._streams)
        return caller.how != "local" and own >= _MAX_OF_ONE

    def join(self, of: Caller) -> Stream:
        """Return a new listener's stream, which gets what is published from here on."""
        stream = Stream(of)
        self._streams.add(stream)
        if self._ended:
            stream.put(StreamSignal.END)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        self._streams.discard(stream)

    def publish(self, what: bytes | StreamSignal) -> None:
        """Give every stream this."""
        for stream in self._streams:
            stream.put(what)

    def set_live(self, live: bool) -> None:
        """Tell every stream whether changes are heard of, if that is new."""
        if live != self.live:
            self.live = live
            self.publish(ping(live))

    def end_session(self, session: str) -> None:
        """Let the streams of a session end that was signed out."""
        for stream in self._streams:
            if stream.of.session == session:
                stream.put(StreamSignal.END)

    def end(self) -> None:
        """Let every stream end, and those that come."""
        self._ended = True
        self.publish(StreamSignal.END)
