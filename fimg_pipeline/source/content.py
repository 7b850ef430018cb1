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
    store = ObjectStore.open(home, object_directories)
    yield from _read(store, sorted(_wanted(store, source), key=lambda pair: pair[0]))


def _wanted(store: ObjectStore, source: PackageSource) -> Iterator[tuple[str, TreeEntry]]:
    for part in source.parts:
        if store.git.text("cat-file", "-t", part.object_id) == "blob":
            yield part.destination, TreeEntry(part.destination, "100644", part.object_id)
            continue
        entries = store.files(part.object_id, part.pattern)
        gone = {entry.path for entry in store.absent(entries)} if source.missing else set()
        for entry in entries:
            if entry.path not in gone:
                yield (f"{part.destination}/{entry.path}" if part.destination else entry.path), entry


def _read(store: ObjectStore, wanted: Sequence[tuple[str, TreeEntry]]) -> Iterator[SourceFile]:
    contents = store.contents(entry.object_id for _, entry in wanted)
    for (path, entry), data in zip(wanted, contents, strict=True):
        if data is None:
            raise GitError(f"{path}: its content ({entry.object_id}) is missing from the repository")
        yield SourceFile(path, data, entry.executable, entry.symlink)
