"""Compressed layers, kept by what they hold: each is compressed once, whatever images and bundles it is in.

A layer's name is its diff id, the digest of the uncompressed tar, which is what images list in their configuration.
"""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from isal import igzip_threaded

from fimg_pipeline.errors import FimgError
from fimg_pipeline.ship.digests import Digest, digest_of
from fimg_pipeline.ship.parts import file_of
from fimg_pipeline.state import held, is_left_behind

#: ISA-L's lowest level that still looks for repetitions: 21 times as fast as gzip -6 for a seventh more bytes.
_LEVEL: Final = 1
_CHUNK: Final = 1 << 20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class ShipError(FimgError):
    """Images can't be carried elsewhere, or what was to carry them is damaged."""


@dataclass(frozen=True)
class Layer:
    """``diff_id`` and ``size`` of the tar; ``packed_digest`` and ``packed_size`` of its gzip. Sizes in bytes."""

    diff_id: str
    size: int
    packed_digest: str
    packed_size: int


class LayerStore:
    """Layers and images' configurations below ``folder``. Several processes may fill it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, diff_id: str) -> Layer | None:
        """The layer, if it is kept."""
        try:
            found = Layer(**json.loads(self._record(diff_id).read_text(encoding="ascii")))
            kept = self.path(found).stat().st_size
        except (OSError, ValueError, TypeError):
            return None
        return found if found.diff_id == diff_id and found.packed_size == kept else None

    def path(self, layer: Layer) -> Path:
        """Where its gzip is."""
        return self.folder / "layers" / f"{_hex(layer.diff_id)}.tar.gz"

    @contextmanager
    def read(self, layer: Layer) -> Iterator[IO[bytes]]:
        """Its gzip, to be read in the block; :class:`ShipError` when it can't be."""
        path = self.path(layer)
        try:
            file = path.open("rb")
        except OSError as error:
            raise ShipError(
                f"{path} can't be read: {error.strerror}", hint="run it again, and check the disk"
            ) from None
        with file:
            yield file

    def add(self, read: Callable[[int], bytes]) -> Layer:
        """Compresses the tar that ``read(size)`` gives until it gives nothing; keeps it unless it is kept already."""
        digest, size = Digest(), 0
        with self._new() as new:
            with new.open("wb") as file:
                packed = _Hashed(file)
                with igzip_threaded.open(packed, "wb", compresslevel=_LEVEL, threads=1) as sink:
                    for chunk in _chunks(read):
                        digest.update(chunk)
                        size += len(chunk)
                        sink.write(chunk)
            layer = Layer(str(digest), size, str(packed.digest), packed.size)
            if self.find(layer.diff_id) is None:
                new.replace(self.path(layer))
                self._write(self._record(layer.diff_id), json.dumps(asdict(layer)).encode())
        return layer

    def require_whole(self, layer: Layer) -> None:
        """Reads a layer's gzip; see :meth:`require_digest`."""
        self.require_digest(layer, f"sha256:{file_of(self.path(layer)).sha256}")

    def require_digest(self, layer: Layer, read: str) -> None:
        """:class:`ShipError` when what was read of a layer's gzip has another digest; then it is forgotten."""
        if read != layer.packed_digest:
            self._record(layer.diff_id).unlink(missing_ok=True)
            raise ShipError(f"{self.path(layer)} is damaged", hint="it is forgotten: run it again, and check the disk")

    def config(self, image_id: str) -> bytes | None:
        """An image's configuration, byte by byte as its id has it, if it is kept."""
        try:
            found = (self.folder / "configs" / f"{_hex(image_id)}.json").read_bytes()
        except OSError:
            return None
        return found if digest_of(found) == image_id else None

    def add_config(self, config: bytes) -> str:
        """Keeps an image's configuration; the image's id."""
        image_id = digest_of(config)
        self._write(self.folder / "configs" / f"{_hex(image_id)}.json", config)
        return image_id

    def diff_id(self, name: str) -> str | None:
        """The layer an engine calls ``name``, if it is known."""
        return _digest_in(self.folder / "names" / name)

    def remember(self, name: str, diff_id: str) -> None:
        """Engines name layers by what is in them and below them: seen once, a layer needs not be read again."""
        self._write(self.folder / "names" / name, diff_id.encode())

    def image_id(self, engine_id: str) -> str | None:
        """The image an engine calls ``engine_id``, if that is known and something else than its own id."""
        return _digest_in(self.folder / "images" / _hex(engine_id))

    def remember_image(self, engine_id: str, image_id: str) -> None:
        """Has :meth:`image_id` know it."""
        self._write(self.folder / "images" / _hex(engine_id), image_id.encode())

    def _record(self, diff_id: str) -> Path:
        return self.folder / "layers" / f"{_hex(diff_id)}.json"

    def _write(self, path: Path, content: bytes) -> None:
        with self._new() as new:
            new.write_bytes(content)
            path.parent.mkdir(parents=True, exist_ok=True)
            new.replace(path)

    def superseded(self, kept: Collection[str]) -> dict[str, list[Path]]:
        """The layers (by diff id) that are not ``kept``, with their files, and those by which engines' names are known.

        A layer's record goes before what it describes.
        """
        found: dict[str, list[Path]] = {}
        for path in self._files("names"):
            found.setdefault(_digest_in(path) or "", []).append(path)
        for path in sorted(self._files("layers"), key=lambda path: path.suffix != ".json"):
            found.setdefault(f"sha256:{path.name.partition('.')[0]}", []).append(path)
        return {diff_id: files for diff_id, files in found.items() if diff_id not in kept}

    def _files(self, kind: str) -> list[Path]:
        folder = self.folder / kind
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def sweep(self) -> None:
        """Removes what killed processes left half written."""
        for path in (self.folder / "new").iterdir() if (self.folder / "new").is_dir() else ():
            # What is just being locked has an ending.
            if not path.suffix and is_left_behind(path):
                path.unlink(missing_ok=True)

    @contextmanager
    def _new(self) -> Iterator[Path]:
        """A file for the block, which may be moved away; on the store's file system, so that moving is renaming."""
        (self.folder / "layers").mkdir(parents=True, exist_ok=True)
        path = self.folder / "new" / uuid.uuid4().hex
        with held(path):
            yield path


class _Hashed(io.RawIOBase):
    """Writes to ``file`` and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = Digest()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        # Hashed while the compressor goes on, which may use its buffer again.
        self.digest.update(bytes(data))
        self.size += len(data)
        return self._file.write(data)


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What ``read`` gives in pieces of one size: the compressor's blocks are those it is handed."""
    pending = bytearray()
    while data := read(_CHUNK):
        pending += data
        if len(pending) >= _CHUNK:
            yield bytes(pending[:_CHUNK])
            del pending[:_CHUNK]
    if pending:
        yield bytes(pending)


def _digest_in(path: Path) -> str | None:
    """The digest that a file holds; ``None`` when it holds none, as after a power cut."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if _DIGEST.fullmatch(text) else None


def _hex(digest: str) -> str:
    """A digest as a file's name; it comes from engines and lock files."""
    if not _DIGEST.fullmatch(digest):
        raise ShipError(f"{digest!r} is no digest (sha256:…)")
    return digest.partition(":")[2]
