"""Run the `sync-pipeline` command and return its output and exit code.

`run` forks the command from a process that has already imported Dagster, which saves a few seconds
each time. `run_script` starts the installed script, as users do.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from sync_pipeline import settings
from sync_pipeline_tests.forked import Forked, ForkServer
from sync_pipeline_tests.waiting import TIMEOUT_SECONDS

SCRIPTS = Path(sys.executable).parent
COMMAND = str(SCRIPTS / "sync-pipeline")
_MAIN = "sync_pipeline.cli.main:main"
_PRELOADED = (
    "dagster._cli.code_server",
    "dagster._cli.dev",
    "dagster._daemon.cli",
    "dagster._grpc.proxy_server",
    "dagster._grpc.server",
    "dagster_postgres.utils",
    "dagster_webserver.cli",
    "sync_pipeline.api.server",
    "sync_pipeline.cli.app",
    "sync_pipeline.cli.batches",
    "sync_pipeline.cli.doctor",
    "sync_pipeline.cli.replay",
    "sync_pipeline.definitions",
    "sync_pipeline.local.stack",
    "sync_pipeline.orchestration.check_definitions",
    "sync_pipeline.orchestration.run_batch",
)
# Settings are blank so that a developer's .env has no effect; COLUMNS is wide to prevent wrapping.
_ENVIRONMENT = {
    **{
        value: ""
        for name, value in vars(settings).items()
        if name.endswith(("_URL", "_TOKENS", "_SECRET"))
    },
    "PATH": os.environ["PATH"],
    "COLUMNS": "1000",
}


@dataclass(frozen=True)
class Ended:
    """The result of a process that has ended."""

    code: int
    out: str
    errors: str

    @property
    def complaint(self) -> str:
        """The last line of standard error, which contains the error message."""
        return self.errors.splitlines()[-1] if self.errors else ""


def environment_of(given: Mapping[str, str], **others: str) -> dict[str, str]:
    """Return the complete environment for a command, with nothing inherited from this process."""
    return {**_ENVIRONMENT, **given, **others}


def run(given: Mapping[str, str], *arguments: object, **others: str) -> Ended:
    """Run `sync-pipeline` in a forked process and wait until it ends."""
    return run_forked([COMMAND, *map(str, arguments)], environment_of(given, **others))


def run_script(given: Mapping[str, str], *arguments: object, **others: str) -> Ended:
    """Run the installed script `sync-pipeline` and wait until it ends."""
    return run_program([COMMAND, *map(str, arguments)], environment_of(given, **others))


def run_all(given: Mapping[str, str], commands: Mapping[str, Sequence[object]]) -> dict[str, Ended]:
    """Run `sync-pipeline` concurrently with each list of arguments; wait until all have ended."""
    with ThreadPoolExecutor(len(commands)) as pool:
        running = {name: pool.submit(run, given, *words) for name, words in commands.items()}
        return {name: ended.result() for name, ended in running.items()}


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """Yield a folder for an embedded server or the demo.

    The folder is outside pytest's own temporary folder, which each pytest session makes private: a
    server started by root runs as another user, who could not access it.
    """
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-test-") as folder:
        yield Path(folder)


def run_forked(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    seconds: float = TIMEOUT_SECONDS,
    folder: Path | None = None,
) -> Ended:
    """Run `sync-pipeline` in a forked process with the arguments in `command`; wait until it ends.

    Kills it and raises subprocess.TimeoutExpired if it takes longer than `seconds`.
    """
    with ExitStack() as closing, ThreadPoolExecutor(2) as readers:
        nothing = closing.enter_context(Path(os.devnull).open("rb"))
        (out, to_out), (errors, to_errors) = os.pipe(), os.pipe()
        try:
            streams = (nothing.fileno(), to_out, to_errors)
            process = _fork_server().start(_MAIN, command, environment, streams, folder)
        finally:
            os.close(to_out)
            os.close(to_errors)
        read = [readers.submit(_read, descriptor) for descriptor in (out, errors)]
        code = process.wait(seconds)
        if code is None:
            process.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, seconds)
        return Ended(code, read[0].result(seconds), read[1].result(seconds))


def _read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as stream:
        return stream.read()


_starting = threading.Lock()
_servers: list[ForkServer] = []


def _fork_server() -> ForkServer:
    """Return this process's fork server, which is started on first use."""
    with _starting:
        if not _servers:
            _servers.append(ForkServer(_PRELOADED, environment_of({})))
            atexit.register(_servers[0].close)
        return _servers[0]


def run_program(
    program: Sequence[str],
    environment: Mapping[str, str],
    *,
    seconds: float = TIMEOUT_SECONDS,
    folder: Path | None = None,
) -> Ended:
    """Run a program and wait until it ends; kill it if it takes longer than `seconds`."""
    result = subprocess.run(
        program,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    return Ended(result.returncode, result.stdout, result.stderr)


class ForkedPopen(subprocess.Popen[Any]):
    """Starts the API server and `dagster dev` by forking, and other programs as `Popen` does.

    With `call`, forks a process that calls this "module:function" instead. A forked process is not
    a child of this process. If this process ends, it receives SIGTERM.
    """

    _FORKED = (("sync_pipeline.api",), ("sync_pipeline.orchestration.dagster", "dev"))

    def __init__(
        self, args: Any, *positional: Any, call: str | None = None, **options: Any
    ) -> None:
        self._forked: Forked | None = None
        words = [args] if isinstance(args, str) else [str(word) for word in args]
        module = words[2:] if words[:2] == [sys.executable, "-m"] else []
        if any(tuple(module[: len(start)]) == start for start in self._FORKED):
            call, words = module[0], module
        if call is None:
            super().__init__(args, *positional, **options)
            return
        with Path(os.devnull).open("rb") as nothing:
            output, errors = options["stdout"].fileno(), options["stderr"].fileno()
            self._forked = _fork_server().start(
                call,
                words,
                options["env"],
                (nothing.fileno(), output, errors),
                options.get("cwd"),
            )
        self.args, self.pid, self.returncode = args, self._forked.pid, None

    def poll(self) -> int | None:
        if self._forked is None:
            return super().poll()
        self.returncode = self._forked.poll()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self._forked is None:
            return super().wait(timeout)
        self.returncode = self._forked.wait(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode


@contextmanager
def started(
    given: Mapping[str, str], *arguments: object, script: bool = False
) -> Iterator["subprocess.Popen[str]"]:
    """Start `sync-pipeline` in a forked process or, with `script`, the installed script.

    The process's `stdout` can be read while it runs. It is killed if it is still running when the
    block ends.
    """
    start: Any = subprocess.Popen if script else partial(ForkedPopen, call=_MAIN)
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as out, tempfile.TemporaryFile("w+") as errors:
        with open(writing, "wb") as output:
            process: subprocess.Popen[str] = start(
                [COMMAND, *map(str, arguments)],
                env=environment_of(given),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        process.stdout, process.stderr = out, errors
        children: list[psutil.Process] = []
        try:
            yield process
        finally:
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
            process.wait()
            psutil.wait_procs(children, TIMEOUT_SECONDS)  # children end when their parent does


def end_of(process: "subprocess.Popen[str]") -> Ended:
    """Wait until a process from `started` has ended; return its exit code and output."""
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout.read()
    code = process.wait(TIMEOUT_SECONDS)
    process.stderr.seek(0)
    return Ended(code, out, process.stderr.read())
