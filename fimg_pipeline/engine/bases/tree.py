"""Folder trees as deterministic layer archives.

Nothing is ever removed from a tree: a predicate says what goes into the archive. So a link that leads out of the tree
(``/var/run`` is one to the host's ``/run``, seen from outside) can't take a clean-up along with it.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

#: ``(path below the root, is a folder) -> take it along``. Without its folder nothing below it is looked at.
Keep = Callable[[str, bool], bool]
#: ``(path below the root, content) -> content to archive``.
Rewrite = Callable[[str, bytes], bytes]


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


def write_tree(root: Path, output: BinaryIO, rules: TreeRules) -> None:
    """Writes ``root``'s content to ``output``: sorted, numeric owners, hard links kept, devices and sockets left out.

    The same tree and rules give the same bytes.
    """
    linked: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        present: set[str] = set()
        for path, entry in _walk(root, rules.keep):
            if path in rules.added:
                continue
            member = _member(path, entry, rules, linked)
            if member is None:
                continue
            present.add(path)
            if member.isreg():
                _add_file(archive, member, Path(entry.path), rules.rewrite)
            else:
                archive.addfile(member)
        for path, added in sorted(rules.added.items()):
            folder = path.rpartition("/")[0]
            if folder and folder not in present:
                raise ValueError(f"{path} can't be added: the tree has no folder {folder}")
            member = tarfile.TarInfo(path)
            member.mode, member.mtime, member.size = added.mode, rules.latest, len(added.content)
            archive.addfile(member, io.BytesIO(added.content))


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


def _member(
    path: str, entry: os.DirEntry[str], rules: TreeRules, linked: dict[tuple[int, int], str]
) -> tarfile.TarInfo | None:
    status = entry.stat(follow_symlinks=False)
    member = tarfile.TarInfo(path)
    member.mode = stat.S_IMODE(status.st_mode)
    member.mtime = min(int(status.st_mtime), rules.latest)
    if not rules.owned_by_root:
        member.uid, member.gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        # Path.readlink() would tidy the target up: links are archived as they are.
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(entry.path)  # noqa: PTH115
    elif not stat.S_ISREG(status.st_mode):
        return None
    elif status.st_nlink > 1 and (first := linked.setdefault((status.st_dev, status.st_ino), path)) != path:
        member.type, member.linkname = tarfile.LNKTYPE, first
    else:
        member.size = status.st_size
    return member


def _add_file(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Path, rewrite: Rewrite | None) -> None:
    if rewrite is None:
        with source.open("rb") as content:
            archive.addfile(member, content)
        return
    rewritten = rewrite(member.name, source.read_bytes())
    member.size = len(rewritten)
    archive.addfile(member, io.BytesIO(rewritten))
