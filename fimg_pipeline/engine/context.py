"""Build contexts: deterministic tar streams, equal bytes for equal content, made while they are sent."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fimg_pipeline.dockerfiles import is_executable

#: Time of every file: layers must not differ by when they were made. Not 0, which zip files can't hold.
EPOCH: Final = 315_619_200  # 1980-01-02T00:00:00Z
_BLOCK: Final = 1 << 16


@dataclass(frozen=True)
class ContextFile:
    """One file of a context. ``path`` is relative with forward slashes; ``link`` the target of a symbolic link."""

    path: str
    data: bytes = b""
    executable: bool = False
    link: str | None = None

    def __post_init__(self) -> None:
        if any(part in ("", ".", "..") for part in self.path.split("/")):
            raise ValueError(f"{self.path!r} is no path inside a build context")


def file_from_disk(path: str, file: Path) -> ContextFile:
    """``file``'s content under the name ``path``."""
    return ContextFile(path, file.read_bytes(), is_executable(file))


def tar_stream(entries: Iterable[ContextFile]) -> Iterator[bytes]:
    """A tar of ``entries`` in the order given, parent folders added, owned by root, all of one time."""
    sink = _Chunks()
    seen: set[str] = set()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCK) as tar:
        for entry in entries:
            for folder in reversed(PurePosixPath(entry.path).parents):
                name = str(folder)
                if name != "." and name not in seen:
                    seen.add(name)
                    member = _member(name, 0o755)
                    member.type = tarfile.DIRTYPE
                    tar.addfile(member)
            member = _member(entry.path, 0o755 if entry.executable else 0o644)
            if entry.link is not None:
                member.type = tarfile.SYMTYPE
                member.linkname = entry.link
                member.mode = 0o777
                tar.addfile(member)
            else:
                member.size = len(entry.data)
                tar.addfile(member, io.BytesIO(entry.data))
            yield from sink.drain()
    yield from sink.drain()


def _member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = mode
    member.mtime = EPOCH
    return member


class _Chunks(io.RawIOBase):
    """A file object that hands out what was written to it."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._chunks.append(bytes(data))
        return len(data)

    def drain(self) -> list[bytes]:
        chunks, self._chunks = self._chunks, []
        return chunks
