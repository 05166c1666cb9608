"""Run the application: `serve` in this process, `run_api` in a child process.

Does not assemble the application: see `app.py`.
"""

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
from sync_pipeline.api.protocol import MAX_HEADER_BYTES, LimitedProtocol
from sync_pipeline.api.services import Services
from sync_pipeline.dagster_client.http import open_url
from sync_pipeline.errors import StackError
from sync_pipeline.local.processes import end_with_parent
from sync_pipeline.settings import Settings

_OPEN_FILES = MAX_STREAMS * 2  # each stream needs an open socket; the default limit is often 1,024
_OTHER_FILES = 200
_STOP_TIMEOUT_SECONDS = 5
_START_TIMEOUT_SECONDS = 60


def serve(
    settings: Settings, host: str, port: int, on_listening: Callable[[str], None] = lambda url: None
) -> None:
    """Serve until a signal arrives; call `on_listening` with the URL once the port is open.

    Raises SettingError for an invalid setting, or StackError if the address cannot be used.
    """
    config = Config.of(settings, host)
    app, services = create_app(config)
    with closing(_listen(host, port)) as listening:
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # because clients can forge these headers
                server_header=False,
                http=LimitedProtocol,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=_STOP_TIMEOUT_SECONDS,
            ),
            services,
        )
        services.broker.max_streams = min(MAX_STREAMS, _raise_file_limit() - _OTHER_FILES)
        on_listening(_url(host, listening.getsockname()[1]))
        server.run(sockets=[listening])


@dataclass(frozen=True)
class RunningApi:
    """An API server at `url`, running in a child process."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def run_api(
    settings: Settings, port: int, host: str = "127.0.0.1", **overrides: str
) -> Iterator[RunningApi]:
    """Run the API in a child process during the block; yield it once it responds.

    `settings` come from `local.stack.prepare_databases`; `overrides` are additional settings.
    Raises StackError if the API does not start.
    """
    log = settings.data_dir / "api.log"
    environment = {**settings.environment, **overrides}
    with log.open("ab") as output:
        process = _start(environment, host, port, output)
    try:
        api = RunningApi(_url(host, port), process, log)
        _wait_until_up(api)
        yield api
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_SECONDS + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Server(uvicorn.Server):
    """A server that ends its event streams on shutdown, because they would keep it running."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.broker.close()
        await super().shutdown(sockets)


def _raise_file_limit() -> int:
    """Increase the limit on open files as far as needed and allowed; return the resulting limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _OPEN_FILES
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
        start_new_session=True,  # so that Ctrl-C reaches only the parent, which stops the child
        preexec_fn=end_with_parent(signal.SIGTERM),
    )


def _wait_until_up(api: RunningApi) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if api.process.poll() is not None:
            raise StackError(f"the API did not start; see the end of {api.log}")
        try:
            with open_url(urllib.request.Request(f"{api.url}/healthz"), 1):  # noqa: S310  http
                return
        except OSError:
            time.sleep(0.05)
    raise StackError(
        f"the API did not respond within {_START_TIMEOUT_SECONDS} s; see the end of {api.log}"
    )


def _url(host: str, port: int) -> str:
    name = host.strip("[]")
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # With SO_REUSEADDR, bind() succeeds even if the port is in use, but listen() fails.
        listening.listen()
    except OSError as error:
        raise StackError(
            f"cannot listen on {host} port {port}: {error.strerror}; stop the process that uses "
            "the port, or choose another port with --port"
        ) from None
    return listening
