"""Find the files of a day and check that they are complete.

Does not access storage: see `store.py`. Does not parse path patterns: see `config/sources/`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from pyarrow import fs

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.config.sources.path_pattern import Name, day_of_path, render_marker
from sync_pipeline.errors import NotReadyError
from sync_pipeline.sources.files.store import FileStore


@dataclass(frozen=True)
class File:
    """A file's path, and its size (in bytes) and modification time (in nanoseconds since the epoch)
    at the time it was listed."""

    path: str
    size: int
    modified_ns: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


class FileFinder:
    """Finds the files of a dataset's days."""

    def __init__(self, dataset: Dataset, keys: FilesSource, store: FileStore) -> None:
        self._dataset = dataset
        self._keys = keys
        self._store = store
        self._marker = keys.ready.marker if keys.ready else None

    def find(self, day: date) -> list[File]:
        """Return the files of `day`, sorted by path.

        Raises NotReadyError if a file is not complete yet, or if there are no files (unless
        `missing_file` is `empty`, and the folder and its marker exist).
        """
        files = self._list(day)
        if not files and self._keys.missing_file == "not_ready":
            raise NotReadyError(
                f"{self._where(day)}: no file found; sync the day again when the file exists, or "
                "set 'missing_file: empty' in its defs.yaml if days without rows have no file"
            )
        reasons = [self._not_ready_reason(file, day) for file in files]
        if not files:
            reasons = [self._missing_folder_reason(), self._missing_marker_reason(day)]
        for reason in reasons:
            if reason is not None:
                raise NotReadyError(f"{self._where(day)}: {reason}; sync the day again later")
        return files

    def newest(self) -> File | None:
        """Return a complete file from the latest day that has one, or None if no day has one."""
        complete = (
            file
            for file in self._walk(None)
            if not self._not_ready_reason(file, self._day_in_path(file))
        )
        return next(complete, None)

    def check_unchanged(self, files: Sequence[File], day: date) -> None:
        """Raise NotReadyError if any of `files` has changed since it was listed."""
        changed = set(files) - set(self._list(day))
        if changed:
            path = self._store.display_path(min(file.path for file in changed))
            raise NotReadyError(
                f"{self._where(day)}: {path} changed while it was read; sync the day again when "
                "the file is complete (the 'ready' key can detect this)"
            )

    def _list(self, day: date) -> list[File]:
        files = sorted(self._walk(day), key=lambda file: file.path)
        markers = {self._marker_path(file.folder, file.name, day) for file in files}
        return [file for file in files if file.path not in markers]

    def _walk(self, day: date | None) -> Iterator[File]:
        """Yield the files of `day` or, if `day` is None, those of all days, latest day first."""
        return self._descend(*self._base(day))

    def _base(self, day: date | None) -> tuple[str, list[Name]]:
        """Return the folder where the path starts, and the components of the path below it."""
        first, *rest = names = self._keys.pattern.names(day)
        if self._keys.pattern.scheme or first.literal == "":
            return first.literal or "", rest
        return self._store.root, names

    def _descend(self, folder: str, names: Sequence[Name]) -> Iterator[File]:
        name, *rest = names
        if name.literal is not None:
            path = f"{folder}/{name.literal}"
            yield from self._descend(path, rest) if rest else _to_files([self._store.info(path)])
            return
        ranked = [(name.rank(info.base_name), info) for info in self._store.list_folder(folder)]
        matching = [(rank, info) for rank, info in ranked if rank is not None]
        for _, info in sorted(matching, key=lambda pair: pair[0], reverse=True):
            if not rest:
                yield from _to_files([info])
            elif info.type == fs.FileType.Directory:
                yield from self._descend(info.path, rest)

    def _day_in_path(self, file: File) -> date | None:
        base, names = self._base(None)
        return day_of_path(names, file.path[len(base) + 1 :].split("/"))

    def _not_ready_reason(self, file: File, day: date | None) -> str | None:
        """Return why `file` must not be read yet, or None if it is ready."""
        marker = self._marker_path(file.folder, file.name, day)
        if marker is not None and self._store.info(marker).type == fs.FileType.NotFound:
            return f"the ready marker {self._store.display_path(marker)} for {file.name} is missing"
        wait = self._keys.ready.settle_seconds if self._keys.ready else None
        if wait is not None:
            now = datetime.now(timezone.utc).timestamp()
            age = now - file.modified_ns / 1e9
            if age < wait:
                path = self._store.display_path(file.path)
                return f"{path} was modified {age:.0f} s ago; it must be unchanged for {wait:g} s"
        return None

    def _missing_folder_reason(self) -> str | None:
        """Return an error message if the folder that contains the days does not exist, else None.

        The folder may be missing because a disk is not mounted.
        """
        base, names = self._base(None)
        # In object storage, a folder exists only while it contains a file.
        for name in [] if self._store.is_remote else names[:-1]:
            if name.literal is None:
                break
            base = f"{base}/{name.literal}"
        if self._store.info(base or "/").type != fs.FileType.NotFound:
            return None
        return f"folder {self._store.display_path(base)} not found"

    def _missing_marker_reason(self, day: date) -> str | None:
        """Return an error message if the marker in the day's folder is missing, else None.

        Without the marker, files may still arrive. Returns None if no marker is required.
        """
        base, names = self._base(day)
        folders = [name.literal for name in names[:-1]]
        if self._marker is None or "{file}" in self._marker or None in folders:
            return None
        folder = "/".join([base, *(name for name in folders if name)])
        marker = self._marker_path(folder, "", day)
        if marker is None or self._store.info(marker).type != fs.FileType.NotFound:
            return None
        return f"the ready marker {self._store.display_path(marker)} for the day is missing"

    def _marker_path(self, folder: str, file: str, day: date | None) -> str | None:
        if self._marker is None:
            return None
        return f"{folder}/{render_marker(self._marker, day or date.min, file)}"

    def _where(self, day: date) -> str:
        return f"dataset {self._dataset.name}: {day} is not ready in {self._keys.path}"


def _to_files(found: Sequence[fs.FileInfo]) -> list[File]:
    return [
        File(info.path, info.size, info.mtime_ns) for info in found if info.type == fs.FileType.File
    ]
