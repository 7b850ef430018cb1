"""Publishing images: every blob once, manifests when all blobs are there, and then a look whether it is true."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final, cast

from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.ship.destination import Destination
from fimg_pipeline.ship.digests import digest_of
from fimg_pipeline.ship.layers import Layer, LayerStore, ShipError
from fimg_pipeline.ship.registry import MANIFEST, Described, Registry
from fimg_pipeline.ship.saved import SavedImage
from fimg_pipeline.ship.together import together
from fimg_pipeline.ship.transport import GivenUpError, RegistryError, RegistryUnreachableError

_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
#: Registries verify what they are sent with a core each, and networks fill with a few streams.
_WORKERS: Final = 4
#: How often a blob that takes long tells how far it is.
_TOLD_SECONDS: Final = 10.0
_LONGEST_TAG: Final = 128

Log = Callable[[str], None]


@dataclass(frozen=True)
class Blob:
    """An image's configuration, or the gzip of a layer: descriptor and content, which a layer has in ``store``."""

    described: Described
    content: Layer | bytes
    store: LayerStore


class _Sending(io.FileIO):
    """A blob's file that says every few seconds how much of it was read, and ends when nobody wants it any more."""

    def __init__(self, path: Path, described: Described, registry: Registry, log: Log) -> None:
        super().__init__(path, "rb")
        self._described = described
        self._registry = registry
        self._log = log
        self._next = time.monotonic() + _TOLD_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        self._registry.transport.require_wanted()
        if time.monotonic() > self._next:
            self._next = time.monotonic() + _TOLD_SECONDS
            self._log(f"sent {self._described.digest[7:19]}: {self.tell() / max(1, self._described.size):.0%}")
        return super().read(-1 if size is None else size)


@dataclass(frozen=True)
class Publication:
    """An image as it is to be in a registry: its blobs, lowest layer first, and its manifest."""

    name: str
    blobs: tuple[Blob, ...]
    manifest: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


@dataclass
class Sent:
    """What a push came to: bytes and blobs sent, blobs shared with another repository, images that were there."""

    size: int = 0
    blobs: int = 0
    mounted: int = 0
    present: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


def platform_tag(tag: str, platform: Platform) -> str:
    """The tag of one platform's image; ``tag`` itself is the list over all of them, so that none replaces another.

    :class:`ShipError` when ``tag`` could be that of a platform itself.
    """
    of = next((each for each in PLATFORMS if tag.endswith(f"-{each}")), None)
    if of is not None:
        raise ShipError(
            f"TAG={tag} ends as the tags of {of} do in a registry: it may be that of {tag.removesuffix(f'-{of}')}",
            hint="choose another TAG to publish; what it is for needs no saying, a push adds it",
        )
    return f"{tag}-{platform}"


def publication(name: str, image: SavedImage, store: LayerStore) -> Publication:
    """``image``, whose parts are in the store, as a registry is to have it."""
    config = Blob(Described(_CONFIG, image.image_id, len(image.config)), image.config, store)
    layers: list[Blob] = []
    for diff_id in image.diff_ids:
        layer = store.find(diff_id)
        if layer is None:
            raise ShipError(f"layer {diff_id} is not kept any more", hint="it was removed meanwhile: run it again")
        layers.append(Blob(Described(_LAYER, layer.packed_digest, layer.packed_size), layer, store))
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.described.document,
        "layers": [layer.described.document for layer in layers],
    }
    return Publication(name, (*layers, config), json.dumps(document, separators=(",", ":")).encode())


def push(destination: Destination, tag: str, publications: Sequence[Publication], log: Log) -> Sent:
    """Publishes all as ``tag``. Names move when every blob of every image is there: a set is whole or not there yet."""
    if len(tag) > _LONGEST_TAG:
        raise ShipError(f"{tag} is longer than the {_LONGEST_TAG} letters a registry takes", hint="choose another TAG")
    registry, sent = destination.registry, Sent()
    found = _look(destination, tag, publications)
    sent.present = sum(not each.problems for each in found.values())
    if sent.present:
        log(f"{sent.present} of {len(publications)} images are there already")
    blobs: dict[str, Blob] = {}
    wanting: dict[str, list[str]] = {}
    having: dict[str, str] = {}
    for repository, each in found.items():
        for blob in dict.fromkeys(each.publication.blobs):
            digest = blob.described.digest
            if digest in each.blobs:
                blobs[digest] = blob
                wanting.setdefault(digest, []).append(repository)
            else:
                having[digest] = repository
    _all(
        registry,
        [
            partial(_place, registry, blob, having.get(digest), wanting[digest], sent, log)
            for digest, blob in blobs.items()
        ],
    )
    _all(
        registry,
        [
            partial(registry.put_manifest, repository, tag, MANIFEST, each.publication.manifest)
            for repository, each in found.items()
            if each.manifest is not None
        ],
    )
    return sent


def missing(destination: Destination, tag: str, publications: Sequence[Publication]) -> dict[str, list[str]]:
    """What the registry does not have as declared, digest by digest, by the image's name; empty when all is there."""
    found = _look(destination, tag, publications).values()
    return {each.publication.name: each.problems for each in found if each.problems}


@dataclass(frozen=True)
class _Found:
    """An image in a registry: what is wrong with its manifest, and with its blobs, by their digests."""

    publication: Publication
    manifest: str | None
    blobs: Mapping[str, str]

    @property
    def problems(self) -> list[str]:
        return [*([] if self.manifest is None else [self.manifest]), *self.blobs.values()]


def _look(destination: Destination, tag: str, publications: Sequence[Publication]) -> dict[str, _Found]:
    """What there is of ``publications``, by repository, in their order."""
    registry = destination.registry
    found: dict[str, _Found] = {}

    def look(repository: str, each: Publication) -> None:
        actual = registry.manifest_digest(repository, tag)
        told = None if actual == each.digest else f"{repository}:{tag} is {actual or 'not there'}, not {each.digest}"
        described = dict.fromkeys(blob.described for blob in each.blobs)
        problems = {blob.digest: registry.blob_problem(repository, blob) for blob in described}
        found[repository] = _Found(each, told, {digest: problem for digest, problem in problems.items() if problem})

    repositories = {destination.repository(each.name): each for each in publications}
    _all(registry, [partial(look, repository, each) for repository, each in repositories.items()])
    return {repository: found[repository] for repository in repositories}


def _place(
    registry: Registry, blob: Blob, source: str | None, repositories: Sequence[str], sent: Sent, log: Log
) -> None:
    """Has ``blob`` in all ``repositories``: shared by ``source``, or sent to one of them and shared with the others."""
    digest = blob.described.digest
    for repository in repositories:
        if source is not None and registry.mount(repository, digest, source):
            with sent.lock:
                sent.mounted += 1
            continue
        started = time.monotonic()
        _upload(registry, repository, blob, log)
        size, seconds = blob.described.size, time.monotonic() - started
        log(f"sent {digest[7:19]} ({size / 1e6:.1f} MB) to {repository} in {seconds:.1f} s")
        source = source or repository
        with sent.lock:
            sent.blobs += 1
            sent.size += size


def _upload(registry: Registry, repository: str, blob: Blob, log: Log) -> None:
    described, content = blob.described, blob.content
    if isinstance(content, bytes):
        registry.upload(repository, described, partial(io.BytesIO, content))
        return
    path = blob.store.path(content)
    try:
        # http.client reads, asks for a position and closes: what a raw file can, typeshed wants more.
        registry.upload(repository, described, lambda: cast(IO[bytes], _Sending(path, described, registry, log)))
    except OSError as error:
        raise ShipError(f"{path} can't be read: {error.strerror}") from None
    except (RegistryUnreachableError, GivenUpError):
        raise
    except RegistryError:
        blob.store.require_whole(content)
        raise


def _all(registry: Registry, tasks: Sequence[Callable[[], None]]) -> None:
    together(tasks, _WORKERS, registry.transport.give_up)
