"""Start processes by forking one that has already imported Dagster and the product."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sync_pipeline.settings import PROJECT_ROOT

_START_SECONDS = 120


class Forked:
    """A forked process. As in `subprocess`, a negative exit code means a signal killed it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self._code: int | None = None
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process is running."""
        with self._lock:
            if self._code is None and select.select([self._connection], [], [], 0)[0]:
                # If no exit code was sent, the sender was killed along with the server.
                self._code = int(self._lines.readline() or -signal.SIGKILL)
                self._lines.close()
                self._connection.close()
            return self._code

    def wait(self, seconds: float | None) -> int | None:
        """Wait up to `seconds`, or without a limit if it is None.

        Return the exit code, or None if the process is still running.
        """
        with suppress(OSError, ValueError):  # another thread has just read the exit code
            select.select([self._connection], [], [], seconds)
        return self.poll()

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal; return whether the process was still running."""
        if self.poll() is not None:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


class ForkServer:
    """A running fork server that has imported `modules`. See `fork_server`."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sync-pipeline-fork-")
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline_tests.fork_server", self._address, *modules],
            cwd=PROJECT_ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C only reaches the tests, which then close the server
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the fork server did not start"

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(
        self,
        call: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        folder: Path | None = None,
    ) -> Forked:
        """Fork a process that calls `call` with `arguments` as its `sys.argv`.

        `call` is "module:function", or a module that is run as `python -m` does. `streams` are
        the file descriptors for its standard input, output and error.
        """
        request = {
            "call": call,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_START_SECONDS)
        connection.connect(self._address)
        socket.send_fds(connection, [b"\0"], list(streams))
        connection.sendall(json.dumps(request).encode() + b"\n")
        return Forked(connection)

    def close(self) -> None:
        """Stop the server and the processes that depend on it."""
        self._process.communicate()
        self._folder.cleanup()
