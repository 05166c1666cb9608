"""A tmpfs with a tablespace: a small disk that a target table can fill up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sync_pipeline_tests.faults.servers import Server, query

TABLESPACE = "tiny"
_BYTES = 2 * 1024 * 1024
_LEFT_BYTES = 24 * 1024


class TinyDisk:
    """The mounted disk. `fill` leaves room for only one or two days of rows."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb") as file, suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))
        os.truncate(self._ballast, max(0, self._ballast.stat().st_size - _LEFT_BYTES))

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def tiny_disk(folder: Path, server: Server) -> Iterator[TinyDisk | None]:
    """Mount the disk and create its tablespace on `server`; yield None if it cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        place = folder / "tablespace"
        place.mkdir(mode=0o700)
        owner = server.folder.stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        query(server.url, f"CREATE TABLESPACE {TABLESPACE} LOCATION '{place}'")
        query(server.url, f"GRANT CREATE ON TABLESPACE {TABLESPACE} TO sync")
        yield TinyDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
