"""Where files lie: the disk, S3 or Google Cloud Storage, and what their errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pyarrow as pa
from pyarrow import fs

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.errors import (
    SourceError,
    SourceUnreachableError,
    SyncError,
    TransientSourceError,
    one_line,
)
from sync_pipeline.settings import Settings

_CONNECT_SECONDS = 10
_REQUEST_SECONDS = 60
GCS_RETRY_SECONDS = 30
_UNREACHABLE = re.compile(r"NETWORK_CONNECTION|curlCode|Could ?n[o']t (?:connect|resolve)", re.I)
_BUSY = re.compile(
    r"SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|HTTP status 5\d\d"
    r"|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|timed? ?out",
    re.I,
)


class _AwayError(SourceUnreachableError, TransientSourceError):
    """A server that cannot be connected to now."""


class FileStore:
    """The file system that a dataset's path is in."""

    def __init__(self, dataset: Dataset, keys: FilesSource, settings: Settings) -> None:
        self._scheme = keys.pattern.scheme
        self._name = dataset.name
        self._secrets = settings.secrets_in(keys.secret_settings)
        self.root = str(settings.project_dir) if not self._scheme else ""
        with self.errors(f"dataset {dataset.name}: cannot set up {keys.path}"):
            self.system = _open(keys, settings)

    @property
    def is_remote(self) -> bool:
        """Whether it is a server, not this machine's disk."""
        return bool(self._scheme)

    def files_in(self, folder: str) -> list[fs.FileInfo]:
        """Return what lies in `folder`; nothing if it is not there."""
        with self.errors(f"dataset {self._name}: cannot list {self.shown(folder)}"):
            found: list[fs.FileInfo] = self.system.get_file_info(
                fs.FileSelector(folder or "/", allow_not_found=True)
            )
        return found

    def info(self, path: str) -> fs.FileInfo:
        """Return what lies at `path`, which may be nothing."""
        with self.errors(f"dataset {self._name}: cannot look at {self.shown(path)}"):
            return self.system.get_file_info(path)

    def open(self, path: str, compression: str | None) -> pa.NativeFile:
        """Return the bytes of the file, decompressed. Raises OSError."""
        return self.system.open_input_stream(path, compression=compression)

    def shown(self, path: str) -> str:
        """Return `path` as a dataset would write it."""
        return f"{self._scheme}://{path}" if self._scheme else path

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Raise what goes wrong in the block as a SourceError that begins with `what`, of the kind
        that says whether another try may mend it."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            text = f"{what}: {one_line(error, *self._secrets)}"
            if not self.is_remote:
                raise SourceError(text) from error
            raise _of_a_server(text, str(error)) from error


def _of_a_server(text: str, said: str) -> SyncError:
    if _UNREACHABLE.search(said):
        return _AwayError(f"{text} (check the endpoint, and that the server runs)")
    return TransientSourceError(text) if _BUSY.search(said) else SourceError(text)


def _open(keys: FilesSource, settings: Settings) -> fs.FileSystem:
    if keys.pattern.scheme == "s3":
        return fs.S3FileSystem(**_s3(keys, settings))
    if keys.pattern.scheme == "gs":
        return fs.GcsFileSystem(**_gcs(keys))
    return fs.LocalFileSystem()


def _s3(keys: FilesSource, settings: Settings) -> dict[str, Any]:
    given, options = keys.s3, {}
    if given.access_key_env and given.secret_key_env:
        options["access_key"] = settings.required(given.access_key_env, "the access key")
        options["secret_key"] = settings.required(given.secret_key_env, "the secret key")
    if given.session_token_env:
        options["session_token"] = settings.required(given.session_token_env, "the token")
    if given.endpoint:
        scheme, _, address = given.endpoint.partition("://")
        options |= {"scheme": scheme, "endpoint_override": address}
    if given.region:
        options["region"] = given.region
    times = {"connect_timeout": _CONNECT_SECONDS, "request_timeout": _REQUEST_SECONDS}
    return {**options, **times, "anonymous": given.anonymous}


def _gcs(keys: FilesSource) -> dict[str, Any]:
    options: dict[str, Any] = {"anonymous": keys.gcs.anonymous}
    if keys.gcs.endpoint:
        scheme, _, address = keys.gcs.endpoint.partition("://")
        options |= {"scheme": scheme, "endpoint_override": address}
    return {**options, "retry_time_limit": timedelta(seconds=GCS_RETRY_SECONDS)}
