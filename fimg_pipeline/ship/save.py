"""Bundles from an engine's images, put together from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship import bundle as archives
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship.collect import collect
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.lock import (
    Lock,
    LockedBundle,
    LockedFile,
    LockedImage,
    LockedLayer,
    Source,
    base_chains,
    leave_out,
    needs,
)
from fimg_pipeline.ship.push import publication
from fimg_pipeline.ship.room import SPACE_HINT, require_space
from fimg_pipeline.ship.saved import SavedImage

Log = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A bundle to be: its name, its images as they are to be locked, how large a file may be.

    Of an image ``id`` is what the engine calls it, and ``layers`` are empty.

    ``sources`` and ``left_out`` as in the lock. ``base``: the lock of what the target has; its layers are left out.
    ``singles``: names (``fateflow``) of images that get an archive of their own too, whole, for containerd, which can't
    load several or parts.
    """

    name: str
    images: Sequence[LockedImage]
    sources: Mapping[str, Source] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    part_size: int | None = None
    base: Lock | None = None
    singles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Saved:
    """What became of a bundle: ``reused`` when the folder had it already. ``seconds`` of wall time."""

    bundle: LockedBundle
    reused: bool
    seconds: float


def save(engine: Engine, store: LayerStore, folder: Path, wanted: Wanted, header: Lock, log: Log) -> Saved:
    """Makes the bundle part of ``folder``, unless it is there. ``header``: the lock without bundles.

    The other bundles of the folder stay as they are, if they are of the same tag and platform.
    """
    started = time.monotonic()
    unknown = wanted.singles - {_name(image) for image in wanted.images}
    if unknown:
        raise ShipError(f"{min(unknown)} is not in the bundle, so it gets no archive of its own")
    # What a delta leaves out is known when it has been read.
    target = folder if wanted.base is None else None
    images = collect(engine, store, [image.id for image in wanted.images], log, target=target)
    content = archives.Content(
        {image.reference: images[image.id] for image in wanted.images}, _left_out(images, wanted.base)
    )
    planned = _locked(wanted, content, store)
    with folders.staging(folder) as new:
        beside = folders.others(folder, header, wanted.name)
        kept = _kept(folder, planned, wanted)
        done = _completed(kept, content, store, new, wanted, log)
        reused = done == kept
        if reused:
            log(f"{folder / folders.archive_name(wanted.name)} holds these images already")
        for name in _names(_there(folder, wanted.name)) - _names(done):
            log(f"{folder / name} is no part of this any more and is removed")
        # In one order, whichever is written last.
        bundles = dict(sorted({**beside, wanted.name: done}.items()))
        try:
            folders.publish(folder, new, header.model_copy(update={"bundles": bundles}))
        except OSError as error:
            place = error.filename2 or error.filename or folder
            raise ShipError(f"{place} can't be written: {error.strerror}", hint=SPACE_HINT) from None
    return Saved(done, reused, time.monotonic() - started)


def _singles(wanted: Wanted) -> dict[str, str]:
    """References of the images that get an archive of their own, with its name."""
    return {
        image.reference: folders.single_name(_name(image)) for image in wanted.images if _name(image) in wanted.singles
    }


def _name(image: LockedImage) -> str:
    return image.reference.rpartition(":")[0].rpartition("/")[2]


def _without_files(bundle: LockedBundle) -> LockedBundle:
    return bundle.model_copy(update={"files": (), "singles": {}})


def _there(folder: Path, name: str) -> LockedBundle | None:
    lock = folders.current(folder)
    return None if lock is None else lock.bundles.get(name)


def _names(bundle: LockedBundle | None) -> set[str]:
    return set() if bundle is None else {file.name for file in bundle.all_files}


def _kept(folder: Path, planned: LockedBundle, wanted: Wanted) -> LockedBundle:
    """``planned`` with those of its files that are in the folder, as they were written."""
    there = _there(folder, wanted.name)
    if there is None or _without_files(there) != planned:
        return planned
    singles = {
        reference: file
        for reference, file in there.singles.items()
        if reference in _singles(wanted) and folders.is_whole(folder, [file])
    }
    files = there.files if folders.is_whole(folder, there.files) else ()
    return planned.model_copy(update={"files": files, "singles": singles})


def _completed(
    kept: LockedBundle, content: archives.Content, store: LayerStore, new: Path, wanted: Wanted, log: Log
) -> LockedBundle:
    """``kept`` with the files it lacks written to ``new``."""
    singles = {
        reference: (name, archives.Content({reference: content.images[reference]}))
        for reference, name in _singles(wanted).items()
        if reference not in kept.singles
    }
    lacking = [*(() if kept.files else (content,)), *(each for _, each in singles.values())]
    if not lacking:
        return kept
    require_space(new, sum(archives.size_of(each, store) for each in lacking))
    name = folders.archive_name(wanted.name)
    files = kept.files or _archive(name, content, store, new, log, part_size=wanted.part_size)
    for single, each in singles.values():
        if wanted.part_size is not None and archives.size_of(each, store) > wanted.part_size:
            log(f"{single} is larger than a part may be, and stays whole: containerd imports one file")
    alone = {
        reference: _archive(name, each, store, new, log, compressed=False)[0]
        for reference, (name, each) in singles.items()
    }
    return kept.model_copy(update={"files": files, "singles": dict(sorted({**kept.singles, **alone}.items()))})


def _archive(
    name: str,
    content: archives.Content,
    store: LayerStore,
    new: Path,
    log: Log,
    *,
    compressed: bool = True,
    part_size: int | None = None,
) -> tuple[LockedFile, ...]:
    log(f"writing {name}: {archives.size_of(content, store) / 1e6:.1f} MB, {len(content.images)} images")
    try:
        files = archives.write(content, store, new, name, compressed=compressed, max_size=part_size)
    except OSError as error:
        raise ShipError(f"{new / name} can't be written: {error.strerror}", hint=SPACE_HINT) from None
    log(f"reading {name} back")
    archives.verify(content, store, new, files, compressed=compressed)
    return tuple(LockedFile(**vars(file)) for file in files)


def _left_out(images: Mapping[str, SavedImage], base: Lock | None) -> frozenset[str]:
    if base is None:
        return frozenset()
    return leave_out([image.diff_ids for image in images.values()], base_chains(base))


def _locked(wanted: Wanted, content: archives.Content, store: LayerStore) -> LockedBundle:
    """The lock's entry, but for the files."""
    layers: dict[str, LockedLayer] = {}
    for image in content.images.values():
        for diff_id in image.diff_ids:
            layer = store.find(diff_id)
            if layer is None:
                raise ShipError(f"layer {diff_id} is not kept any more", hint="it was removed meanwhile: run it again")
            layers[diff_id] = LockedLayer(
                size=layer.size,
                packed_size=layer.packed_size,
                packed_digest=layer.packed_digest,
                included=diff_id not in content.left_out,
            )
    every = [image.diff_ids for image in content.images.values()]
    return LockedBundle(
        sources=dict(wanted.sources),
        left_out=dict(wanted.left_out),
        files=(),
        part_size=wanted.part_size,
        images=tuple(
            image.model_copy(
                update={
                    "id": saved.image_id,
                    "layers": saved.diff_ids,
                    # Of ours it follows from the layers, pushed or not; others' are known by where they came from.
                    "digest": publication(_name(image), saved, store).digest if image.fingerprint else image.digest,
                }
            )
            for image, saved in ((image, content.images[image.reference]) for image in wanted.images)
        ),
        layers=layers,
        needs={} if wanted.base is None else needs(every, content.left_out, base_chains(wanted.base)),
    )
