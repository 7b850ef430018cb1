"""Images from an engine into the store: what that lacks is read, several archives at once.

An engine puts an archive together with one thread, and sends none of it before all of it is there: four fifths of the
time, in which nothing could be compressed. So its images are divided into shares.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

from fimg_pipeline.engine.client import Engine, Saving
from fimg_pipeline.ship.layers import Layer, LayerStore, ShipError
from fimg_pipeline.ship.lock import Chain, chains
from fimg_pipeline.ship.room import SPACE_HINT, require_room
from fimg_pipeline.ship.saved import Claims, LostLayerError, SavedImage, kept, read_saved
from fimg_pipeline.ship.together import together
from fimg_pipeline.state import locked

#: How large layers are compressed, at most as a rule; images of FATE are a third.
_PACKED_SHARE: Final = 0.5
#: How large a layer's tar is for a byte of its files: FATE's have many small ones.
_AS_TAR: Final = 1.2
#: Archives at once: each keeps a core of the engine's machine busy, and one of ours; disks fill with a few.
_AT_ONCE: Final = min(4, os.cpu_count() or 1)
#: How many pieces for each of them the images are cut into: smaller ones would not be shared out more evenly.
_PIECES: Final = 8
#: How much more may be read for that, layers of several shares, than the images have.
_READ_AGAIN: Final = 0.25

Log = Callable[[str], None]


def collect(
    engine: Engine, store: LayerStore, image_ids: Sequence[str], log: Log, *, target: Path | None = None
) -> dict[str, SavedImage]:
    """The images by what the engine calls them, their parts in the store; what it lacks is read at once.

    ``target``: where all of them are written to afterwards. Nothing is read before there seems to be room for it all.
    """
    store.sweep()
    if _lacking(store, image_ids):
        # A push and a bundle of the same images may be under way at once: whoever comes second finds them.
        with locked(store.folder / "reading", waits=lambda: log("waiting: another run reads images from the engine")):
            _collect(engine, store, _lacking(store, image_ids), image_ids, log, target)
    found = {image_id: kept(store, image_id) for image_id in image_ids}
    lost = [image_id for image_id, image in found.items() if image is None]
    if lost:
        raise ShipError(f"the engine saved something else than image {lost[0]}")
    return {image_id: image for image_id, image in found.items() if image is not None}


def _lacking(store: LayerStore, image_ids: Sequence[str]) -> list[str]:
    return [image_id for image_id in dict.fromkeys(image_ids) if kept(store, image_id) is None]


def _collect(
    engine: Engine, store: LayerStore, lacking: Sequence[str], every: Sequence[str], log: Log, target: Path | None
) -> None:
    if not lacking:
        log("the images have been read from the engine meanwhile")
        return
    images = {image_id: _chain(engine, image_id) for image_id in lacking}
    sizes = _sizes(engine, images)
    new = int(sum(size for chain, size in sizes.items() if store.find(chain[-1]) is None) * _PACKED_SHARE)
    needed = [(store.folder, new)]
    if target is not None:
        known = sum(layer.packed_size for layer in _known(engine, store, every))
        needed.append((target, new + known))
    parts = shares(images, sizes, _AT_ONCE)
    if engine.disk is not None:
        # `docker save` writes all of an archive there first.
        files = sum(map(_Forest.of(images, sizes).weight, parts))
        needed.append((engine.disk, int(files * _AS_TAR)))
    require_room(needed)
    log(f"reading {len(lacking)} of {len(set(every))} images from the engine")
    _read(engine, store, parts, log)


def shares(images: Mapping[str, Chain], sizes: Mapping[Chain, int], most: int) -> list[list[str]]:
    """``images`` (their layers) in up to ``most`` parts, of which the largest is as small as cutting makes it.

    ``sizes``: bytes of layers, by the chain they end. What images of several parts have in common is read as many
    times, so those that share much stay together.
    """
    forest = _Forest.of(images, sizes)
    limit = forest.weight(images) * (1 + _READ_AGAIN)
    trees = [list(images)]
    best = trees
    while len(trees) <= most * _PIECES:
        heaviest = max(trees, key=forest.weight)
        branches = forest.branches(heaviest)
        if len(branches) == 1:
            break
        trees = [tree for tree in trees if tree is not heaviest] + branches
        for parts in (forest.packed(trees, count) for count in range(2, most + 1)):
            weights = [forest.weight(part) for part in parts]
            if sum(weights) <= limit and max(weights) < max(map(forest.weight, best)):
                best = parts
    return best


@dataclass(frozen=True)
class _Forest:
    """Images as paths of nodes, a node a layer with all that is below it; ``sizes`` of the nodes' layers in bytes."""

    paths: Mapping[str, tuple[int, ...]]
    sizes: Sequence[int]

    @classmethod
    def of(cls, images: Mapping[str, Chain], sizes: Mapping[Chain, int]) -> _Forest:
        nodes: dict[Chain, int] = {}
        paths = {
            image: tuple(nodes.setdefault(chain, len(nodes)) for chain in chains(layers))
            for image, layers in images.items()
        }
        return cls(paths, [sizes.get(chain, 0) for chain in nodes])

    def weight(self, images: Iterable[str]) -> int:
        """How many bytes an archive of ``images`` has: each layer once."""
        return sum(self.sizes[node] for node in set[int]().union(*(self.paths[image] for image in images)))

    def branches(self, images: Sequence[str]) -> list[list[str]]:
        """``images`` by the first layer that not all of them have; those that end before it are one branch too."""
        levels = zip(*(self.paths[image] for image in images), strict=False)
        shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
        found: dict[tuple[int, ...], list[str]] = {}
        for image in images:
            found.setdefault(self.paths[image][: shared + 1], []).append(image)
        return list(found.values())

    def packed(self, trees: Sequence[Sequence[str]], most: int) -> list[list[str]]:
        """``trees`` in up to ``most`` parts: the heaviest first, each to where least is then."""
        parts: list[list[str]] = [[] for _ in range(min(most, len(trees)))]
        for tree in sorted(trees, key=self.weight, reverse=True):
            min(parts, key=lambda part: self.weight([*part, *tree])).extend(tree)
        return [part for part in parts if part]


def _read(engine: Engine, store: LayerStore, parts: Sequence[Sequence[str]], log: Log) -> None:
    claims, running, given_up = Claims(), list[Saving](), threading.Event()

    def read(part: Sequence[str]) -> None:
        with engine.save(part) as saving:
            running.append(saving)
            if given_up.is_set():
                saving.stop()
            # Whoever lost it fails, too, and knows why.
            with suppress(LostLayerError):
                read_saved(saving.archive, store, log, claims)

    def give_up() -> None:
        given_up.set()
        for saving in running:
            saving.stop()

    try:
        together([partial(read, part) for part in parts], len(parts), give_up)
    except OSError as error:
        raise ShipError(f"{store.folder} can't be written: {error.strerror}", hint=SPACE_HINT) from None


def _chain(engine: Engine, image_id: str) -> Chain:
    record = engine.inspect(image_id)
    return () if record is None else tuple(record["RootFS"].get("Layers") or ())


def _sizes(engine: Engine, images: Mapping[str, Chain]) -> dict[Chain, int]:
    """About how many bytes the layers of ``images`` have: which of them are empty, an engine does not say."""
    sizes: dict[Chain, int] = {}
    for image_id, layers in images.items():
        for chain, size in zip(chains(layers), engine.layer_sizes(image_id), strict=False):
            sizes.setdefault(chain, size)
    return sizes


def _known(engine: Engine, store: LayerStore, image_ids: Sequence[str]) -> list[Layer]:
    """The layers of images that the store has, each once."""
    layers = dict.fromkeys(layer for image_id in image_ids for layer in _chain(engine, image_id))
    return [found for found in map(store.find, layers) if found is not None]
