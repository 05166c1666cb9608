"""Which files hold a day's rows, and whether they are whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from pyarrow import fs

from sync_pipeline.config.dataset import Dataset
from sync_pipeline.config.sources import FilesSource
from sync_pipeline.config.sources.path_pattern import Name, day_in, rendered
from sync_pipeline.errors import NotReadyError
from sync_pipeline.sources.files.store import FileStore


@dataclass(frozen=True)
class File:
    """One file, as it was when it was looked at: its size in bytes, its last change in ns."""

    path: str
    size: int
    changed_ns: int

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

    def of_day(self, day: date) -> list[File]:
        """Return the files of `day`, by name. Raises NotReadyError if there is none, where that is
        not said to be an empty day, or if one is not whole yet."""
        files = self._present(day)
        if not files and self._keys.missing_file == "not_ready":
            raise NotReadyError(
                f"{self._where(day)}: there is no such file yet; sync the day again when there is, "
                "or set 'missing_file: empty' in its defs.yaml if it never comes for an empty day"
            )
        reasons = [self._unready(file, day) for file in files]
        if not files:
            reasons = [self._away(), self._unmarked(day)]
        for reason in reasons:
            if reason is not None:
                raise NotReadyError(f"{self._where(day)}: {reason}; sync the day again later")
        return files

    def newest(self) -> File | None:
        """Return the file of the newest day that is whole; None if there is none."""
        whole = (file for file in self._walk(None) if not self._unready(file, self._day_of(file)))
        return next(whole, None)

    def refuse_changed(self, files: Sequence[File], day: date) -> None:
        """Raise NotReadyError if one of the `files` of `day` is no longer what was read."""
        changed = set(files) - set(self._present(day))
        if changed:
            path = self._store.shown(min(file.path for file in changed))
            raise NotReadyError(
                f"{self._where(day)}: {path} changed while it was read; sync the day again when it "
                "is whole (the key 'ready' says how that is known)"
            )

    def _present(self, day: date) -> list[File]:
        files = sorted(self._walk(day), key=lambda file: file.path)
        markers = {self._marker_of(file.folder, file.name, day) for file in files}
        return [file for file in files if file.path not in markers]

    def _walk(self, day: date | None) -> Iterator[File]:
        """Yield the files of `day`, or of any: those of later days first."""
        return self._below(*self._base(day))

    def _base(self, day: date | None) -> tuple[str, list[Name]]:
        """Return the folder that the path begins at, and the names below it."""
        first, *rest = names = self._keys.pattern.names(day)
        if self._keys.pattern.scheme or first.literal == "":
            return first.literal or "", rest
        return self._store.root, names

    def _below(self, folder: str, names: Sequence[Name]) -> Iterator[File]:
        name, *rest = names
        if name.literal is not None:
            path = f"{folder}/{name.literal}"
            yield from self._below(path, rest) if rest else _as_files([self._store.info(path)])
            return
        ranked = [(name.rank(info.base_name), info) for info in self._store.files_in(folder)]
        meant = [(rank, info) for rank, info in ranked if rank is not None]
        for _, info in sorted(meant, key=lambda pair: pair[0], reverse=True):
            if not rest:
                yield from _as_files([info])
            elif info.type == fs.FileType.Directory:
                yield from self._below(info.path, rest)

    def _day_of(self, file: File) -> date | None:
        base, names = self._base(None)
        return day_in(names, file.path[len(base) + 1 :].split("/"))

    def _unready(self, file: File, day: date | None) -> str | None:
        """Return why `file` is not to be read yet."""
        marker = self._marker_of(file.folder, file.name, day)
        if marker is not None and self._store.info(marker).type == fs.FileType.NotFound:
            return f"{self._store.shown(marker)}, which says that {file.name} is whole, is missing"
        wait = self._keys.ready.settle_seconds if self._keys.ready else None
        if wait is not None:
            now = datetime.now(timezone.utc).timestamp()
            age = now - file.changed_ns / 1e9
            if age < wait:
                path = self._store.shown(file.path)
                return f"{path} changed {age:.0f} s ago, not {wait:g} s or longer"
        return None

    def _away(self) -> str | None:
        """Return why no file of any day can be there: a disk that is not mounted, or no bucket."""
        base, names = self._base(None)
        # On a server a folder is there only with a file in it.
        for name in [] if self._store.is_remote else names[:-1]:
            if name.literal is None:
                break
            base = f"{base}/{name.literal}"
        if self._store.info(base or "/").type != fs.FileType.NotFound:
            return None
        return f"its folder {self._store.shown(base)} is not there"

    def _unmarked(self, day: date) -> str | None:
        """Return why a day without files is not known to be empty: its folder's marker is
        missing."""
        base, names = self._base(day)
        folders = [name.literal for name in names[:-1]]
        if self._marker is None or "{file}" in self._marker or None in folders:
            return None
        folder = "/".join([base, *(name for name in folders if name)])
        marker = self._marker_of(folder, "", day)
        if marker is None or self._store.info(marker).type != fs.FileType.NotFound:
            return None
        return f"{self._store.shown(marker)}, which says that all of it is there, is missing"

    def _marker_of(self, folder: str, file: str, day: date | None) -> str | None:
        if self._marker is None:
            return None
        return f"{folder}/{rendered(self._marker, day or date.min, file)}"

    def _where(self, day: date) -> str:
        return f"dataset {self._dataset.name}: {day} is not ready in {self._keys.path}"


def _as_files(found: Sequence[fs.FileInfo]) -> list[File]:
    return [
        File(info.path, info.size, info.mtime_ns) for info in found if info.type == fs.FileType.File
    ]
