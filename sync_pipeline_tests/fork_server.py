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
import multiprocessing.forkserver
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
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn
from unittest import mock

_PR_SET_PDEATHSIG = 1
_STANDARD_STREAMS = 3
_forked = [
    ("dagster", "api", "grpc"),
    ("dagster", "code-server"),
    ("dagster_webserver",),
    ("sync_pipeline.api",),
    ("sync_pipeline.orchestration.check_definitions",),
    ("sync_pipeline.orchestration.dagster",),
    ("sync_pipeline.orchestration.run_batch",),
]
"""The words after `python -m` that make a forked process fork again instead of starting Python.

Each process forks for the same words only once: when the code server starts `dagster api grpc`
again, its own gRPC server is running, which would not survive a fork.
"""
_LAUNCHING_RUNS = (("dagster_webserver",), ("sync_pipeline.orchestration.dagster", "daemon"))

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
        os.setsid()
        _die_with_parent(signal.SIGTERM)
        _become(request["arguments"], request["environment"])
        module, _, function = request["call"].partition(":")
        if function:
            _end(lambda: sys.exit(getattr(importlib.import_module(module), function)()))
        _run_module(module)
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _die_with_parent(sign: signal.Signals = signal.SIGKILL) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], kept: Collection[int] = ()
) -> None:
    """Make this forked process behave as if it had been started with these arguments and this
    environment. Its standard streams must already be set; it keeps the open files in `kept`."""
    gc.freeze()  # otherwise, an inherited object could close a file that now has its number
    first = _STANDARD_STREAMS
    for number in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, number)
        first = number + 1
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # Even if the tests run in a shell's background job, which ignores this signal.
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
    """Runs the modules in `_forked` by forking; starts any other program as usual."""

    def __init__(self, args: Any, *positional: Any, **options: Any) -> None:
        command = [args] if isinstance(args, str) else [str(word) for word in args]
        module = command[2:] if command[:2] == [sys.executable, "-m"] else []
        words = next((words for words in _forked if _starts_with(module, words)), None)
        if words is not None:
            _forked.remove(words)
            # Runs in place of `exec`, once the streams and the working folder have been set.
            options["preexec_fn"] = _running(module, options)
        super().__init__(args, *positional, **options)


def _starts_with(command: Sequence[str], words: Sequence[str]) -> bool:
    return list(command[: len(words)]) == list(words)


def _running(command: Sequence[str], options: Mapping[str, Any]) -> Callable[[], NoReturn]:
    """Return a function that runs `command`, a module and its arguments, in a forked process.

    `options` are those of `subprocess.Popen`.
    """
    environment = options.get("env") or dict(os.environ)
    before = options.get("preexec_fn")
    kept = options.get("pass_fds", ())

    def in_child() -> NoReturn:
        if before is not None:
            before()
        _become(command, environment, kept)
        if any(_starts_with(command, words) for words in _LAUNCHING_RUNS):
            fork_run_server()
        _run_module(command[0])

    return in_child


def fork_run_server() -> None:
    """Fork the fork server of `multiprocessing`, from which runs are forked.

    Otherwise, the first run would start it with a new interpreter.
    """
    with mock.patch("multiprocessing.util.spawnv_passfds", _fork_interpreter):
        multiprocessing.forkserver.ensure_running()


def _fork_interpreter(path: str, arguments: Sequence[str], kept: Collection[int]) -> int:
    """Run `python ... -c CODE` in a forked process; return its PID."""
    child = os.fork()
    if child == 0:
        _become(arguments, dict(os.environ), kept)
        _end(lambda: exec(arguments[-1], {}))  # noqa: S102
    return child


def _run_module(module: str) -> NoReturn:
    """Run a module as `python -m` would, then exit."""
    sys.modules.pop(module, None)  # otherwise runpy warns that it is already imported
    _end(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))


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
