"""One file, or several of limited size that are it when put one after the other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from fimg_pipeline.ship.digests import Digest

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class File:
    """A file by ``name``, ``size`` in bytes and ``sha256`` in hexadecimal digits."""

    name: str
    size: int
    sha256: str


class PartWriter(io.RawIOBase):
    """Writes to ``folder/name``, or, with ``max_size``, to ``folder/name.part-001`` and so on."""

    def __init__(self, folder: Path, name: str, max_size: int | None = None) -> None:
        self._folder = folder
        self._name = name
        self._max_size = max_size
        self._file: IO[bytes] | None = None
        self._size = 0
        self._digest = Digest()
        #: What is written and closed.
        self.files: list[File] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        rest = memoryview(bytes(data))
        while rest:
            if self._file is None:
                self._file = (self._folder / self._next()).open("wb")
            room = len(rest) if self._max_size is None else min(len(rest), self._max_size - self._size)
            self._file.write(rest[:room])
            self._digest.update(rest[:room])
            self._size += room
            rest = rest[room:]
            if self._size == self._max_size:
                self._finish()
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._finish()
        super().close()

    def _next(self) -> str:
        return self._name if self._max_size is None else f"{self._name}.part-{len(self.files) + 1:03}"

    def _finish(self) -> None:
        assert self._file is not None
        name = self._next()
        self._file.close()
        self.files.append(File(name, self._size, self._digest.hex()))
        self._file, self._size, self._digest = None, 0, Digest()


class PartReader(io.RawIOBase):
    """Reads files of ``folder`` one after the other, and tells what they are at the end."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = list(names)
        self._file: IO[bytes] | None = None
        self._size = 0
        self._digest = Digest()
        #: What is read to its end.
        self.files: list[File] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while len(self.files) < len(self._names):
            if self._file is None:
                self._file = (self._folder / self._names[len(self.files)]).open("rb")
            data = self._file.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                self._digest.update(data)
                self._size += len(data)
                return len(data)
            self._finish()
        return 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _finish(self) -> None:
        assert self._file is not None
        self._file.close()
        self.files.append(File(self._names[len(self.files)], self._size, self._digest.hex()))
        self._file, self._size, self._digest = None, 0, Digest()


def file_of(path: Path) -> File:
    """What a file is."""
    digest = Digest()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        return File(path.name, file.tell(), digest.hex())
