"""Reading what an engine saves: its images' configurations and layers, from a stream, into the store.

Engines write one of two forms of the same archive: until Docker 24 a folder per layer (``ID/layer.tar``, or a link to
the same layer under another id), later an OCI layout (``blobs/sha256/…``, layers perhaps compressed). Both end with a
``manifest.json`` that says which files make which image. An engine that keeps its images in containerd calls them by
the digest of a manifest, or of an index of several; the layout's ``index.json`` leads from it to the configuration.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import IO, Any, Final

from isal import igzip

from fimg_pipeline.ship.digests import digest_of
from fimg_pipeline.ship.layers import LayerStore, ShipError

#: Larger files of an archive are layers.
_MAX_DOCUMENT: Final = 8 << 20
_BUFFER: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_LAYER: Final = re.compile(r"(?:blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})/layer\.tar)")


@dataclass(frozen=True)
class SavedImage:
    """An image whose parts are all in the store: its id (the digest of ``config``) and its layers, lowest first."""

    image_id: str
    config: bytes
    diff_ids: tuple[str, ...]


def image_of(config: bytes) -> SavedImage:
    """The image a configuration describes; :class:`ShipError` when it is none."""
    try:
        diff_ids = tuple(map(str, json.loads(config)["rootfs"]["diff_ids"]))
    except (ValueError, KeyError, TypeError):
        raise ShipError("the engine saved an image without a configuration that can be read") from None
    return SavedImage(digest_of(config), config, diff_ids)


def kept(store: LayerStore, engine_id: str) -> SavedImage | None:
    """The image that an engine calls ``engine_id``, if all of its parts are in the store."""
    config = store.config(store.image_id(engine_id) or engine_id)
    if config is None:
        return None
    image = image_of(config)
    return image if all(store.find(diff_id) for diff_id in image.diff_ids) else None


class LostLayerError(ShipError):
    """Another archive that was to give a layer ended within it; whoever read that one says why."""


class Claims:
    """Which of several archives that are read at once gives a layer, by the engine's name for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[str, Future[str]] = {}

    def claim(self, name: str) -> tuple[bool, Future[str]]:
        """Whether it is the caller who is to read the layer; its diff id, once it is read."""
        with self._lock:
            claimed = self._claimed.get(name)
            if claimed is not None:
                return False, claimed
            return True, self._claimed.setdefault(name, Future())


def read_saved(
    archive: IO[bytes], store: LayerStore, log: Callable[[str], None], claims: Claims | None = None
) -> list[SavedImage]:
    """Puts the images of ``archive``, a stream, into the store; :class:`ShipError` when it is not whole.

    ``claims``: shared by those who read other archives of the same engine meanwhile. All have to be read to their ends.
    """
    reader = _Reader(store, log, claims or Claims())
    try:
        with tarfile.open(fileobj=archive, mode="r|", bufsize=_BUFFER) as tar:
            for member in tar:
                reader.read(tar, member)
    except tarfile.TarError as error:
        raise ShipError(f"the engine's archive can't be read: {error}") from None
    return reader.images()


@dataclass
class _Reader:
    store: LayerStore
    log: Callable[[str], None]
    claims: Claims
    documents: dict[str, bytes] = field(default_factory=dict)
    layers: dict[str, Future[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def read(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.issym() or member.islnk():
            folder = posixpath.dirname(member.name) if member.issym() else ""
            self.links[member.name] = posixpath.normpath(posixpath.join(folder, member.linkname))
            return
        if not member.isfile():
            return
        name = _LAYER.fullmatch(member.name)
        known = self.store.diff_id(name[1] or name[2]) if name else None
        if known is not None and self.store.find(known):
            self.layers[member.name] = Future()
            self.layers[member.name].set_result(known)
            return
        file = tar.extractfile(member)
        assert file is not None
        if name is None or member.size <= _MAX_DOCUMENT:
            content = file.read()
            if name is None or _is_document(content):
                self.documents[member.name] = content
                return
            file = io.BytesIO(content)
        mine, self.layers[member.name] = self.claims.claim(name[1] or name[2])
        if not mine:
            return
        try:
            self.layers[member.name].set_result(self._layer(file, name[1] or name[2]))
        except BaseException:
            self.layers[member.name].set_exception(LostLayerError("another archive ended within a layer of this one"))
            raise

    def _layer(self, file: IO[bytes], name: str) -> str:
        layer = self.store.add(_unpacked(file))
        self.log(f"layer {layer.diff_id[7:19]}: {layer.size / 1e6:.1f} MB, compressed {layer.packed_size / 1e6:.1f} MB")
        self.store.remember(name, layer.diff_id)
        return layer.diff_id

    def images(self) -> list[SavedImage]:
        try:
            entries: list[dict[str, Any]] = json.loads(self.documents["manifest.json"])
            found = [
                (self.documents[entry["Config"]], [self._of(path) for path in entry["Layers"]]) for entry in entries
            ]
        except KeyError as error:
            raise ShipError(f"the engine's archive lacks {error}") from None
        images: list[SavedImage] = []
        for config, diff_ids in found:
            image = image_of(config)
            if list(image.diff_ids) != diff_ids:
                raise ShipError(f"the engine saved other layers than image {image.image_id} has")
            self.store.add_config(config)
            images.append(image)
        for engine_id, image_id in self._engine_ids().items():
            self.store.remember_image(engine_id, image_id)
        return images

    def _engine_ids(self) -> dict[str, str]:
        """By what the engine calls an image, the digest of its configuration; where it says so."""
        if "index.json" not in self.documents:
            return {}
        found: dict[str, str] = {}
        try:
            for entry in json.loads(self.documents["index.json"])["manifests"]:
                manifest = self._manifest(entry["digest"])
                if manifest is not None:
                    found[entry["digest"]] = manifest["config"]["digest"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ShipError("the engine's archive has an index.json that can't be read") from None
        return found

    def _manifest(self, digest: str) -> dict[str, Any] | None:
        """The manifest of an image, or the one of an index that is in the archive and of an image."""
        content = self.documents.get(f"blobs/sha256/{digest.partition(':')[2]}")
        if content is None:
            return None
        document: dict[str, Any] = json.loads(content)
        for entry in document.get("manifests", ()):
            # Attestations are of no platform.
            if entry.get("platform", {}).get("os") != "unknown" and (found := self._manifest(entry["digest"])):
                return found
        return document if "config" in document else None

    def _of(self, path: str) -> str:
        return self.layers[self.links.get(path, path)].result()


def _unpacked(file: IO[bytes]) -> Callable[[int], bytes]:
    """Reads a layer's tar, be it compressed or not; what is wrong with the archive is no matter of the store's disk."""
    buffered = io.BufferedReader(file, _BUFFER)  # type: ignore[type-var]  # typeshed asks for more than it does

    def read(size: int) -> bytes:
        try:
            piece: bytes = source.read(size)
            return piece
        except (OSError, EOFError, tarfile.TarError) as error:
            raise ShipError(f"the engine's archive can't be read: {error}") from None

    try:
        packed = buffered.peek(2)[:2] == _GZIP
    except (OSError, tarfile.TarError) as error:
        raise ShipError(f"the engine's archive can't be read: {error}") from None
    source: Any = igzip.IGzipFile(fileobj=buffered) if packed else buffered
    return read


def _is_document(content: bytes) -> bool:
    """Whether a small blob is JSON; layers begin with the name of a file, or with gzip's mark."""
    if not content.startswith(b"{"):
        return False
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
