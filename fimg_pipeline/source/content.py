"""The files of a package, read straight from git's objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.source.git import GitError
from fimg_pipeline.source.model import PackageSource
from fimg_pipeline.source.store import ObjectStore, TreeEntry


@dataclass(frozen=True)
class SourceFile:
    """One file of a package; ``path`` is its place in the package."""

    path: str
    data: bytes
    executable: bool
    symlink: bool


def package_files(home: Path, source: PackageSource, object_directories: Sequence[str]) -> Iterator[SourceFile]:
    """All files of ``source`` in a fixed order, one in memory at a time. Raises :class:`GitError` when one is gone."""
    store = ObjectStore.open(home, [Path(path) for path in object_directories])
    yield from _read(store, sorted(_wanted(store, source), key=lambda pair: pair[0]))


def _wanted(store: ObjectStore, source: PackageSource) -> Iterator[tuple[str, TreeEntry]]:
    for part in source.parts:
        if store.git.text("cat-file", "-t", part.object_id) == "blob":
            yield part.destination, TreeEntry(part.destination, "100644", part.object_id)
            continue
        entries = store.select(part.object_id, part.pattern)
        gone = {entry.path for entry in store.absent(entries)} if source.missing else set()
        for entry in entries:
            if entry.path not in gone:
                yield (f"{part.destination}/{entry.path}" if part.destination else entry.path), entry


def _read(store: ObjectStore, wanted: Sequence[tuple[str, TreeEntry]]) -> Iterator[SourceFile]:
    """Streams the blobs through one ``git cat-file --batch``."""
    with store.git.start("cat-file", "--batch") as process:
        assert process.stdin is not None and process.stdout is not None
        for path, entry in wanted:
            process.stdin.write(f"{entry.object_id}\n".encode("ascii"))
            process.stdin.flush()
            header = process.stdout.readline().split()
            if len(header) != 3:
                raise GitError(f"{path}: its content ({entry.object_id}) is missing from the repository")
            data = process.stdout.read(int(header[2]))
            process.stdout.read(1)
            if len(data) != int(header[2]):
                raise GitError(f"{path}: git ended before its content was read")
            yield SourceFile(path, data, entry.executable, entry.symlink)
        process.stdin.close()
        if process.wait() != 0:
            raise GitError("git cat-file failed while reading a package")
