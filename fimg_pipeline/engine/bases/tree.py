"""File trees, of a folder or an archive, as deterministic layer archives.

Nothing is ever removed from a tree: a predicate says what goes into the archive. So a link that leads out of the tree
(``/var/run`` is one to the host's ``/run``, seen from outside) can't take a clean-up along with it.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

#: ``(path below the root, is a folder) -> take it along``. Without its folder nothing below it is looked at.
Keep = Callable[[str, bool], bool]
#: ``(path below the root, content) -> content to archive``.
Rewrite = Callable[[str, bytes], bytes]


@dataclass(frozen=True)
class Entry:
    """One folder, link or file of a tree. ``member`` has its path below the root; ``open`` gives a file's content."""

    member: tarfile.TarInfo
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class AddedFile:
    """A file put into the archive, instead of the tree's own where there is one. Its folder must be in the tree."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class TreeRules:
    """How a tree becomes an archive."""

    keep: Keep
    #: Times after this one (Unix seconds) become it: what was written while the tree was made carries no news.
    latest: int
    #: Everything belongs to root, whoever owns the tree.
    owned_by_root: bool = False
    rewrite: Rewrite | None = None
    added: Mapping[str, AddedFile] = field(default_factory=dict)


def write_folder(root: Path, output: BinaryIO, rules: TreeRules) -> None:
    """Writes what is below ``root`` to ``output``, sorted. The same tree and rules give the same bytes."""
    _write(_folder_entries(root, rules.keep), output, rules)


def rewrite_archive(source: Path, output: BinaryIO, rules: TreeRules) -> None:
    """Writes what is in the tar ``source`` to ``output``, in its order, which has to have folders first."""
    with tarfile.open(source) as archive:
        _write(_archive_entries(archive, rules.keep), output, rules)


def _write(entries: Iterable[Entry], output: BinaryIO, rules: TreeRules) -> None:
    """Numeric owners, hard links kept, devices and sockets left out."""
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        present: set[str] = set()
        for entry in entries:
            member = entry.member
            if member.name in rules.added:
                continue
            present.add(member.name)
            member.mtime = min(int(member.mtime), rules.latest)
            if rules.owned_by_root:
                member.uid = member.gid = 0
            if not member.isreg():
                archive.addfile(member)
                continue
            with entry.open() as content:
                if rules.rewrite is None:
                    archive.addfile(member, content)
                else:
                    _add(archive, member, rules.rewrite(member.name, content.read()))
        for path, added in sorted(rules.added.items()):
            folder = path.rpartition("/")[0]
            if folder and folder not in present:
                raise ValueError(f"{path} can't be added: the tree has no folder {folder}")
            member = tarfile.TarInfo(path)
            member.mode, member.mtime = added.mode, rules.latest
            _add(archive, member, added.content)


def _add(archive: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _archive_entries(archive: tarfile.TarFile, keep: Keep) -> Iterator[Entry]:
    left_out: set[str] = set()
    first_names: dict[str, str] = {}
    for found in archive:
        path = found.name.strip("/")
        folder = path.rpartition("/")[0]
        if folder in left_out or not keep(path, found.isdir()):
            left_out.add(path)
            continue
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.mtime = found.type, found.mode, found.mtime
        member.uid, member.gid = found.uid, found.gid
        if found.islnk():
            first = found.linkname.strip("/")
            if first not in left_out:
                member.linkname = first
            elif (other := first_names.setdefault(first, path)) != path:
                member.linkname = other
            else:
                # Its first name stays behind: this one has to bring the content.
                member.type, member.size = tarfile.REGTYPE, archive.getmember(found.linkname).size
        elif found.issym():
            member.linkname = found.linkname
        elif found.isreg():
            member.size = found.size
        elif not found.isdir():
            continue
        yield Entry(member, partial(_content, archive, found))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    assert content is not None, f"{member.name} is no file"
    return content


def _folder_entries(root: Path, keep: Keep) -> Iterator[Entry]:
    first_names: dict[tuple[int, int], str] = {}
    for path, entry in _walk(root, keep):
        status = entry.stat(follow_symlinks=False)
        member = tarfile.TarInfo(path)
        member.mode, member.mtime = stat.S_IMODE(status.st_mode), status.st_mtime
        member.uid, member.gid = status.st_uid, status.st_gid
        if stat.S_ISDIR(status.st_mode):
            member.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(status.st_mode):
            # Path.readlink() would tidy the target up: links are archived as they are.
            member.type, member.linkname = tarfile.SYMTYPE, os.readlink(entry.path)  # noqa: PTH115
        elif not stat.S_ISREG(status.st_mode):
            continue
        elif status.st_nlink > 1 and (first := first_names.setdefault((status.st_dev, status.st_ino), path)) != path:
            member.type, member.linkname = tarfile.LNKTYPE, first
        else:
            member.size = status.st_size
        yield Entry(member, partial(_opened, entry.path))


def _opened(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def _walk(root: Path, keep: Keep, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(root / below) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = f"{below}/{entry.name}" if below else entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if not keep(path, folder):
            continue
        yield path, entry
        if folder:
            yield from _walk(root, keep, path)
