"""Helpers for starting child processes: make a child end when its parent ends; choose a free port.

Does not start any process itself: see `stack.py`.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable

from sync_pipeline.errors import StackError

_PR_SET_PDEATHSIG = 1


def end_with_parent(sign: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that makes a child receive `sign` when its parent dies (Linux only).

    It also resets the handler for `sign`, because a shell may make background jobs ignore it.
    """
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    parent = os.getpid()

    def in_child() -> None:
        signal.signal(sign, signal.SIG_DFL)
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
            if os.getppid() != parent:  # the parent died before prctl was called
                os._exit(1)

    return in_child


def free_port(port: int, option: str = "--port") -> int:
    """Return `port`, or a free port if it is 0. Raises StackError if the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(
                f"port {port} cannot be used: {error.strerror}; stop the process that uses it, "
                f"or choose another port with {option}"
            ) from None
        return int(probe.getsockname()[1])
