"""What packages are made of: the git objects of their parts, all of them checked to be there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fimg_pipeline.catalog.packages import PACKAGES, Package, Part, Repository
from fimg_pipeline.source.git import GitError
from fimg_pipeline.source.model import PackagePart, PackageSource, RepositorySnapshot, SourceError
from fimg_pipeline.source.store import DAMAGED, FOLDER, ObjectStore, TreeEntry, matching

_MISSING_SHOWN: Final = 10


@dataclass(frozen=True)
class _Found:
    """What a part's place holds: the object itself and the files of it that go into the package, relative to it."""

    part: Part
    entry: TreeEntry
    files: Sequence[TreeEntry]


def package_sources(
    store: ObjectStore, names: Sequence[str], repositories: Mapping[Repository, RepositorySnapshot]
) -> dict[str, PackageSource]:
    """The packages by name, in the order of ``names``; every repository is listed once, whatever asks for it.

    Raises :class:`SourceError` when a repository lacks a part, or the content of a file that no package may lack.
    """
    parts = [part for name in names for part in PACKAGES[name].parts]
    listings = {
        name: _listing(store, repositories[name], [part.path for part in parts if part.repository == name])
        for name in dict.fromkeys(part.repository for part in parts)
    }
    found = {
        name: [_find(PACKAGES[name], part, repositories[part.repository], listings) for part in PACKAGES[name].parts]
        for name in names
    }
    files = [file for places in found.values() for place in places for file in place.files]
    absent = {file.object_id for file in store.absent(files)}
    return {name: _package(PACKAGES[name], places, absent) for name, places in found.items()}


def _listing(store: ObjectStore, repository: RepositorySnapshot, paths: Iterable[str]) -> dict[str, TreeEntry]:
    """The repository below ``paths``, by path; an empty path stands for all of it, and is listed too."""
    wanted = sorted(set(paths))
    try:
        entries = store.listing(repository.tree, [] if "" in wanted else wanted)
    except GitError as error:
        raise SourceError(f"{_where(repository)} can't be read: {error.message}", hint=error.hint or DAMAGED) from None
    return {"": TreeEntry("", FOLDER, repository.tree)} | {entry.path: entry for entry in entries}


def _where(repository: RepositorySnapshot) -> str:
    return f"{repository.name} at {repository.ref} ({repository.commit[:12]})"


def _find(
    package: Package,
    part: Part,
    repository: RepositorySnapshot,
    listings: Mapping[Repository, Mapping[str, TreeEntry]],
) -> _Found:
    where = f"package {package.name}: {_where(repository)}"
    listing = listings[part.repository]
    entry = listing.get(part.path)
    if entry is None:
        raise SourceError(f"{where} has no {part.path}")
    if entry.symlink or entry.submodule:
        raise SourceError(f"{where}: {part.path} is a {'symbolic link' if entry.symlink else 'submodule'}")
    if not entry.folder:
        return _Found(part, entry, [entry])
    above = f"{part.path}/" if part.path else ""
    below = [replace(file, path=file.path.removeprefix(above)) for file in listing.values() if _is_file(file, above)]
    files = matching(below, part.pattern)
    if not files and part.pattern is not None:
        raise SourceError(f"{where} has no file {part.path}/{part.pattern}")
    return _Found(part, entry, files)


def _is_file(entry: TreeEntry, above: str) -> bool:
    return entry.path.startswith(above) and not entry.folder and not entry.submodule


def _package(package: Package, places: Iterable[_Found], absent: Collection[str]) -> PackageSource:
    parts: list[PackagePart] = []
    missing: list[str] = []
    identity = hashlib.sha256()
    for place in places:
        part, entry = place.part, place.entry
        parts.append(PackagePart(entry.object_id, part.destination, part.pattern))
        lacking = [file for file in place.files if file.object_id in absent]
        missing += [f"{part.path}/{file.path}".lstrip("/") if entry.folder else part.path for file in lacking]
        # An object's id says it all, except where only some of a folder's files go in: then their names and ids.
        content = (
            entry.object_id
            if part.pattern is None
            else "\0".join(f"{file.path} {file.mode} {file.object_id}" for file in place.files)
        )
        identity.update(f"{part.destination}\0{content}\0".encode("utf-8", "surrogateescape"))
    if missing and not package.may_lack_files:
        shown = ", ".join(missing[:_MISSING_SHOWN]) + (" …" if len(missing) > _MISSING_SHOWN else "")
        raise SourceError(
            f"package {package.name}: the content of {len(missing)} files is missing from the repository: {shown}",
            hint=DAMAGED,
        )
    identity.update("\0".join(missing).encode("utf-8", "surrogateescape"))
    return PackageSource(package.name, identity.hexdigest(), tuple(parts), tuple(missing))
