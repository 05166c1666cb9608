"""Access files on disk, in S3 or in Google Cloud Storage, and classify errors.

Does not decide which files belong to a day: see `finder.py`.
"""

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


class _UnavailableError(SourceUnreachableError, TransientSourceError):
    """The server is currently unreachable; a retry may succeed."""


class FileStore:
    """The file system that contains a dataset's files."""

    def __init__(self, dataset: Dataset, keys: FilesSource, settings: Settings) -> None:
        self._scheme = keys.pattern.scheme
        self._name = dataset.name
        self._secrets = settings.secrets_in(keys.secret_settings)
        self.root = str(settings.project_dir) if not self._scheme else ""
        with self.translate_errors(f"dataset {dataset.name}: cannot set up {keys.path}"):
            self.system = _open(keys, settings)

    @property
    def is_remote(self) -> bool:
        """Whether the files are on a server rather than on a local disk."""
        return bool(self._scheme)

    def list_folder(self, folder: str) -> list[fs.FileInfo]:
        """Return the files and folders in `folder`; an empty list if it does not exist."""
        with self.translate_errors(
            f"dataset {self._name}: cannot list {self.display_path(folder)}"
        ):
            found: list[fs.FileInfo] = self.system.get_file_info(
                fs.FileSelector(folder or "/", allow_not_found=True)
            )
        return found

    def info(self, path: str) -> fs.FileInfo:
        """Return the file info of `path`; its type is NotFound if the path does not exist."""
        with self.translate_errors(
            f"dataset {self._name}: cannot access {self.display_path(path)}"
        ):
            return self.system.get_file_info(path)

    def open(self, path: str, compression: str | None) -> pa.NativeFile:
        """Open a file for reading; decompress it if `compression` is set. Raises OSError."""
        return self.system.open_input_stream(path, compression=compression)

    def display_path(self, path: str) -> str:
        """Return `path` with its scheme, as in a dataset's YAML."""
        return f"{self._scheme}://{path}" if self._scheme else path

    @contextmanager
    def translate_errors(self, what: str) -> Iterator[None]:
        """Turn storage errors in the block into a SourceError whose message starts with `what`.

        The error is a TransientSourceError if a retry may succeed.
        """
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            text = f"{what}: {one_line(error, *self._secrets)}"
            if not self.is_remote:
                raise SourceError(text) from error
            raise _server_error(text, str(error)) from error


def _server_error(text: str, message: str) -> SyncError:
    if _UNREACHABLE.search(message):
        return _UnavailableError(f"{text} (check the endpoint, and that the server is running)")
    return TransientSourceError(text) if _BUSY.search(message) else SourceError(text)


def _open(keys: FilesSource, settings: Settings) -> fs.FileSystem:
    if keys.pattern.scheme == "s3":
        return fs.S3FileSystem(**_s3(keys, settings))
    if keys.pattern.scheme == "gs":
        return fs.GcsFileSystem(**_gcs(keys))
    return fs.LocalFileSystem()


def _s3(keys: FilesSource, settings: Settings) -> dict[str, Any]:
    s3, options = keys.s3, {}
    if s3.access_key_env and s3.secret_key_env:
        options["access_key"] = settings.require(s3.access_key_env, "the access key")
        options["secret_key"] = settings.require(s3.secret_key_env, "the secret key")
    if s3.session_token_env:
        options["session_token"] = settings.require(s3.session_token_env, "the token")
    if s3.endpoint:
        scheme, _, address = s3.endpoint.partition("://")
        options |= {"scheme": scheme, "endpoint_override": address}
    if s3.region:
        options["region"] = s3.region
    times = {"connect_timeout": _CONNECT_SECONDS, "request_timeout": _REQUEST_SECONDS}
    return {**options, **times, "anonymous": s3.anonymous}


def _gcs(keys: FilesSource) -> dict[str, Any]:
    options: dict[str, Any] = {"anonymous": keys.gcs.anonymous}
    if keys.gcs.endpoint:
        scheme, _, address = keys.gcs.endpoint.partition("://")
        options |= {"scheme": scheme, "endpoint_override": address}
    return {**options, "retry_time_limit": timedelta(seconds=GCS_RETRY_SECONDS)}
