"""Running the application: `serve` in this process, `api_running` in a process of its own."""

import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import uvicorn

from sync_pipeline.api.app import create_app
from sync_pipeline.api.config import Config
from sync_pipeline.api.live.broker import MAX_STREAMS
from sync_pipeline.api.services import Services
from sync_pipeline.dagster_client.http import open_url
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import end_with_parent
from sync_pipeline.settings import Settings

_FILES = MAX_STREAMS * 2  # a stream is one; many systems begin with 1,024
_OTHER_FILES = 200
_END_SECONDS = 5
_START_SECONDS = 60


def serve(
    settings: Settings, host: str, port: int, on_listening: Callable[[str], None] = lambda url: None
) -> None:
    """Serve until a signal comes; call `on_listening` with the address once it is taken.

    Raises SettingError, or StackError if it cannot listen there.
    """
    config = Config.of(settings, host)
    app, given = create_app(config)
    with closing(_listening(host, port)) as listening:
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # whoever sends them is believed by nobody here
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=_END_SECONDS,
            ),
            given,
        )
        given.broker.most = min(MAX_STREAMS, _files() - _OTHER_FILES)
        on_listening(_address(host, listening.getsockname()[1]))
        server.run(sockets=[listening])


@dataclass(frozen=True)
class RunningApi:
    """An API of our own at `url`, and its log."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def api_running(
    settings: Settings, port: int, host: str = "127.0.0.1", **others: str
) -> Iterator[RunningApi]:
    """Run the API in a process of its own for as long as the block lasts; yield it when it answers.

    `settings` come from `stack.databases`; `others` are more of them. Raises StackError.
    """
    log = settings.data_dir / "api.log"
    environment = {**settings.environment, **others}
    with log.open("ab") as output:
        process = _start(environment, host, port, output)
    try:
        api = RunningApi(_address(host, port), process, log)
        _wait_until_up(api)
        yield api
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_SECONDS + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Server(uvicorn.Server):
    """Ends the event streams first, which would never end by themselves."""

    def __init__(self, config: uvicorn.Config, given: Services) -> None:
        super().__init__(config)
        self._given = given

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._given.broker.end()
        await super().shutdown(sockets)


def _files() -> int:
    """Let this process have more files open, if it may; return how many it has then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _start(
    environment: Mapping[str, str], host: str, port: int, output: IO[bytes]
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "sync_pipeline.api", "--host", host, "--port", str(port)]
    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # a terminal's Ctrl-C is for us; we then stop it in order
        preexec_fn=end_with_parent(signal.SIGTERM),
    )


def _wait_until_up(api: RunningApi) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if api.process.poll() is not None:
            raise StackError(f"the API did not start; the end of {api.log} says why")
        try:
            with open_url(urllib.request.Request(f"{api.url}/healthz"), 1):  # noqa: S310  http
                return
        except OSError:
            time.sleep(0.05)
    raise StackError(f"the API does not answer after {_START_SECONDS} s ({api.log})")


def _address(host: str, port: int) -> str:
    name = host.strip("[]")
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _listening(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # two may bind to a port, one may listen
    except OSError as error:
        raise StackError(
            f"{host} port {port} cannot be used: {error.strerror}; stop what listens there, or "
            "choose another with --port"
        ) from None
    return listening
