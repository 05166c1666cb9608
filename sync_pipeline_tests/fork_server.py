"""A process that imports Dagster and the product once, then forks the processes that need them.

`forked.ForkServer` starts it as `python -m sync_pipeline_tests.fork_server SOCKET MODULE ...`; it
ends when its standard input is closed. A forked process behaves like a newly started one: it has
its own environment, working folder, arguments, standard streams and signal handlers, and exits as
the interpreter does. When it forks, the server has a single thread and no database connections.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_STANDARD_STREAMS = 3
_FORKED_MODULES = (
    "sync_pipeline.orchestration.check_definitions",
    "sync_pipeline.orchestration.run_batch",
)
"""Modules that import Dagster and that the command runs with `python -m`: forked instead."""

_inherited: list[object] = []
"""The parent's streams, kept because a discarded stream flushes its buffer."""


def main() -> None:
    """Import the modules, then fork a process for each connection."""
    path, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    assert len(os.listdir("/proc/self/task")) == 1 if sys.platform == "linux" else True
    gc.freeze()  # otherwise, garbage collection in a child would copy all memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the server does not wait for its children
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("ready", flush=True)  # noqa: T201
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _keep(connection)
            connection.close()


def _keep(connection: socket.socket) -> NoReturn:
    """Fork the requested process; send its PID and, once it has ended, its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent()
    _, streams, _, _ = socket.recv_fds(connection, 1, _STANDARD_STREAMS)
    with connection.makefile("r", encoding="utf-8") as lines:
        request = json.loads(lines.readline())
    child = os.fork()
    if child == 0:
        for standard, stream in enumerate(streams):
            os.dup2(stream, standard)
        os.chdir(request["folder"])
        _become(request["arguments"], request["environment"])
        module, _, function = request["call"].partition(":")
        _end(lambda: sys.exit(getattr(importlib.import_module(module), function)()))
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _become(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Make this forked process behave as if it had been started with these arguments and this
    environment. Its standard streams must already be set."""
    os.closerange(_STANDARD_STREAMS, os.sysconf("SC_OPEN_MAX"))
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as the interpreter does
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    _inherited.extend([sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.argv = list(arguments)
    _inherited.append(sys.modules["__main__"])
    sys.modules["__main__"] = types.ModuleType("__main__")
    subprocess.Popen = _ForkingPopen  # type: ignore[misc]


class _ForkingPopen(subprocess.Popen[Any]):
    """Runs the modules in `_FORKED_MODULES` by forking; starts any other program as usual."""

    def __init__(self, args: Any, *positional: Any, **options: Any) -> None:
        command = [args] if isinstance(args, str) else [str(word) for word in args]
        if command[:2] == [sys.executable, "-m"] and command[2] in _FORKED_MODULES:
            # Runs in place of `exec`, once the streams and the working folder have been set.
            options["preexec_fn"] = _running(
                command[2], options.get("env") or dict(os.environ), options.get("preexec_fn")
            )
        super().__init__(args, *positional, **options)


def _running(
    module: str, environment: Mapping[str, str], before: Callable[[], object] | None
) -> Callable[[], NoReturn]:
    """Return a function that runs `module` in a forked process as `python -m` would."""

    def in_child() -> NoReturn:
        if before is not None:
            before()
        _become([module], environment)
        sys.modules.pop(module, None)  # otherwise runpy warns that it is already imported
        _end(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))

    return in_child


def _end(work: Callable[[], object]) -> NoReturn:
    """Call `work` and then exit as the interpreter would."""
    code = 1
    try:
        try:
            work()
            code = 0
        except SystemExit as ended:
            code = _exit_code(ended)
        except KeyboardInterrupt:
            sys.excepthook(*sys.exc_info())
            code = 128 + signal.SIGINT
            sys.stdout.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        threading._shutdown()  # type: ignore[attr-defined]  # wait for threads
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None:
        return 0
    if isinstance(ended.code, int):
        return ended.code & 0xFF
    print(ended.code, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    main()
