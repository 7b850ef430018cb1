"""Bundles from an engine's images: what the store lacks is read from the engine, the rest is put together from it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship import bundle as archives
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.layers import Layer, LayerStore, ShipError
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
from fimg_pipeline.ship.saved import SavedImage, kept, read_saved

#: What is left free on a disk that is written to.
_SPARE: Final = 64 << 20
#: How large layers are compressed, at most as a rule; images of FATE are a third.
_PACKED_SHARE: Final = 0.5
_SPACE_HINT: Final = "free space there, or choose another folder (--output, BUNDLE_DIR, FIMG_HOME)"

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


def collect(
    engine: Engine, store: LayerStore, image_ids: Sequence[str], log: Log, *, target: Path | None = None
) -> dict[str, SavedImage]:
    """The images by what the engine calls them, their parts in the store; what it lacks is read at once.

    ``target``: where all of them are written to afterwards. Nothing is read before there seems to be room for it all.
    """
    store.sweep()
    lacking = [image_id for image_id in dict.fromkeys(image_ids) if kept(store, image_id) is None]
    if lacking:
        store.folder.mkdir(parents=True, exist_ok=True)
        layers = _layers(engine, lacking)
        new = int(sum(size for chain, size in layers.items() if store.find(chain[-1]) is None) * _PACKED_SHARE)
        needed = [(store.folder, new)]
        if target is not None:
            known = sum(layer.packed_size for layer in _known(engine, store, image_ids))
            needed.append((_existing(target), new + known))
        if engine.disk is not None:
            # `docker save` writes all of it there first.
            needed.append((engine.disk, sum(layers.values())))
        _require_room(needed)
        log(f"reading {len(lacking)} of {len(set(image_ids))} images from the engine")
        try:
            with engine.save(lacking) as archive:
                read_saved(archive, store, log)
        except OSError as error:
            raise ShipError(f"{store.folder} can't be written: {error.strerror}", hint=_SPACE_HINT) from None
    found = {image_id: kept(store, image_id) for image_id in image_ids}
    lost = [image_id for image_id, image in found.items() if image is None]
    if lost:
        raise ShipError(f"the engine saved something else than image {lost[0]}")
    return {image_id: image for image_id, image in found.items() if image is not None}


def _layers(engine: Engine, image_ids: Sequence[str]) -> dict[locks.Chain, int]:
    """About how many bytes layers of images have: what an image is larger by than those it stands on."""
    sizes: dict[locks.Chain, int] = {}
    for image in engine.state().images:
        record = engine.inspect(image.image_id)
        if record is not None:
            sizes[tuple(record["RootFS"].get("Layers") or ())] = record["Size"]
    parts: dict[locks.Chain, int] = {}
    for record in filter(None, map(engine.inspect, image_ids)):
        below = 0
        for chain in locks.chains(record["RootFS"].get("Layers") or ()):
            if chain in sizes:
                parts[chain], below = max(0, sizes[chain] - below), sizes[chain]
    return parts


def _known(engine: Engine, store: LayerStore, image_ids: Sequence[str]) -> list[Layer]:
    """The layers of images that the store has, each once."""
    records = filter(None, map(engine.inspect, image_ids))
    layers = dict.fromkeys(layer for record in records for layer in record["RootFS"].get("Layers") or ())
    return [found for found in map(store.find, layers) if found is not None]


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _disk_of(folder: Path) -> Any:
    """Equal for folders of one file system."""
    return folder.stat().st_dev


def _require_room(needed: Sequence[tuple[Path, int]]) -> None:
    """:func:`require_space` for several folders, of which some may be on one disk."""
    disks: dict[Any, dict[Path, int]] = {}
    for folder, size in needed:
        on_it = disks.setdefault(_disk_of(folder), {})
        on_it[folder] = on_it.get(folder, 0) + size
    for on_it in disks.values():
        # The one that needs most says where room is to be made.
        require_space(max(on_it, key=on_it.__getitem__), sum(on_it.values()))


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
            raise ShipError(f"{place} can't be written: {error.strerror}", hint=_SPACE_HINT) from None
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
        raise ShipError(f"{new / name} can't be written: {error.strerror}", hint=_SPACE_HINT) from None
    log(f"reading {name} back")
    archives.verify(content, store, new, files, compressed=compressed)
    return tuple(LockedFile(**vars(file)) for file in files)


def require_space(folder: Path, size: int) -> None:
    """:class:`ShipError` when ``folder``'s file system has no ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise ShipError(
            f"{folder} has {free / 1e9:.2f} GB free, and {size / 1e9:.2f} GB are needed",
            hint=_SPACE_HINT,
        )


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
