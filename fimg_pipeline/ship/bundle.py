"""The archive that ``docker load`` takes: every image's configuration, and every layer once.

A tar with ``manifest.json`` first, the layers in it gzips from the store: an engine that has a layer does not unpack it
again. The gzip around it does not compress. Equal images are an equal file.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from isal import igzip

from fimg_pipeline.ship.digests import Digest, digest_of
from fimg_pipeline.ship.gzipped import Sink, StoredGzip, stored_size
from fimg_pipeline.ship.layers import Layer, LayerStore, ShipError
from fimg_pipeline.ship.parts import File, PartReader, PartWriter
from fimg_pipeline.ship.saved import SavedImage

MANIFEST: Final = "manifest.json"
_BUFFER: Final = 1 << 20


@dataclass(frozen=True)
class Content:
    """What goes into one archive: images under their names, and the layers that the target has already."""

    images: Mapping[str, SavedImage]
    left_out: frozenset[str] = frozenset()

    def layers(self, store: LayerStore) -> list[Layer]:
        """The layers that are in the archive, each once, in the order of the images; an error when one is not kept."""
        wanted = dict.fromkeys(diff_id for image in self.images.values() for diff_id in image.diff_ids)
        found = {diff_id: store.find(diff_id) for diff_id in wanted if diff_id not in self.left_out}
        lost = [diff_id for diff_id, layer in found.items() if layer is None]
        if lost:
            raise ShipError(f"layer {lost[0]} is not kept any more", hint="it was removed, or cut: run it again")
        return [layer for layer in found.values() if layer is not None]

    @property
    def documents(self) -> dict[str, bytes]:
        """The files that are no layers, by name, as they come first in the archive."""
        manifest = [
            {
                "Config": _config_name(image),
                "RepoTags": [reference],
                "Layers": [_layer_name(diff_id) for diff_id in image.diff_ids],
            }
            for reference, image in self.images.items()
        ]
        configs = {_config_name(image): image.config for image in self.images.values()}
        return {MANIFEST: json.dumps(manifest, separators=(",", ":")).encode(), **configs}


def size_of(content: Content, store: LayerStore) -> int:
    """How many bytes the archive will have."""
    sizes = [len(document) for document in content.documents.values()]
    sizes += [layer.packed_size for layer in content.layers(store)]
    blocks = sum(512 + -(-size // 512) * 512 for size in sizes) + 1024
    return stored_size(-(-blocks // tarfile.RECORDSIZE) * tarfile.RECORDSIZE)


def write(
    content: Content,
    store: LayerStore,
    folder: Path,
    name: str,
    *,
    compressed: bool = True,
    max_size: int | None = None,
) -> list[File]:
    """Writes the archive as ``name`` (or parts of it, of ``max_size`` bytes) in ``folder``; the files it became.

    ``compressed``: as a gzip, which ``.tar.gz`` promises.
    """
    with PartWriter(folder, name, max_size) as output:
        if compressed:
            with StoredGzip(output) as sink:
                stream(content, store, sink)
        else:
            stream(content, store, output)
    return output.files


def stream(content: Content, store: LayerStore, sink: Sink) -> None:
    """Writes the archive without a gzip around it; :class:`ShipError` when a layer is not as it was kept."""
    tar = _Tar(sink)
    for name, document in content.documents.items():
        tar.add(name, len(document), [document])
    for layer in content.layers(store):
        tar.add(_layer_name(layer.diff_id), layer.packed_size, _required(layer, store))
    tar.end()


def verify(
    content: Content, store: LayerStore, folder: Path, files: Sequence[File], *, compressed: bool = True
) -> None:
    """Reads what :func:`write` wrote back from the disk: it has to be whole, and hold exactly what it should."""
    expected = {name: digest_of(document) for name, document in content.documents.items()}
    expected |= {_layer_name(layer.diff_id): layer.packed_digest for layer in content.layers(store)}
    found: dict[str, str] = {}
    with PartReader(folder, [file.name for file in files]) as reader:
        raw = io.BufferedReader(reader, _BUFFER)  # type: ignore[type-var]  # typeshed asks for more than it does
        source: Any = igzip.IGzipFile(fileobj=raw) if compressed else raw
        try:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_BUFFER) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    found[member.name] = "" if file is None else _digest_of_file(file)
            # The archive ends before its file does.
            while source.read(_BUFFER):
                pass
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ShipError(f"{files[0].name} could not be read back from {folder}: {error}") from None
        if found != expected or reader.files != list(files):
            raise ShipError(
                f"{files[0].name} is not on the disk as it was written to {folder}",
                hint="check the disk, and run it again",
            )


class _Tar:
    """A tar as it goes into ``sink``. In large pieces: the standard library's stream copies each many times over."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._size = 0

    def add(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o644
        self._write(member.tobuf(tarfile.GNU_FORMAT))
        for piece in pieces:
            self._write(piece)
        self._fill(tarfile.BLOCKSIZE)

    def end(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._fill(tarfile.RECORDSIZE)

    def _fill(self, multiple: int) -> None:
        self._write(bytes(-self._size % multiple))

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self._size += len(data)


def _required(layer: Layer, store: LayerStore) -> Iterator[bytes]:
    """What is kept of a layer; its last piece only if it is as it was kept: half of one is no layer to anybody."""
    digest, left, piece = Digest(), layer.packed_size, b""
    with store.read(layer) as file:
        while left and (piece := file.read(min(_BUFFER, left))):
            digest.update(piece)
            left -= len(piece)
            if left:
                yield piece
    store.require_digest(layer, str(digest))
    yield piece


def _digest_of_file(file: IO[bytes]) -> str:
    digest = Digest()
    while piece := file.read(_BUFFER):
        digest.update(piece)
    return str(digest)


def _config_name(image: SavedImage) -> str:
    return f"{image.image_id.partition(':')[2]}.json"


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.partition(':')[2]}.tar.gz"
