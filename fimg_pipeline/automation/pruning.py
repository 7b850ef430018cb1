"""Removes what is superseded: from the engine, the layer store, bundles, tags, and what is on record of old runs.

First everything that would go is listed, then it goes, in an order in which nothing is needed for finding the rest: so
one that is killed is finished by the next.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from fimg_pipeline import freshness
from fimg_pipeline.assets.keys import LISTS, OVERVIEW, PUBLISHED, REGISTERED
from fimg_pipeline.assets.partitions import known_tags, remove_tag
from fimg_pipeline.assets.publishing import DIGESTS
from fimg_pipeline.assets.records import FINGERPRINT, IMAGE_ID
from fimg_pipeline.automation.run_requests import REQUEST, wanted_by
from fimg_pipeline.automation.superseded import (
    History,
    Made,
    old_runs,
    superseded_bases,
    superseded_images,
)
from fimg_pipeline.automation.watching import KEYS, tags, unfinished_runs
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.state import run_folder, write_whole

_PAGE: Final = 1000
_DAY: Final = 86_400.0
#: What is looked back on, and how far: one push may be of fewer images than another.
_CARRIED_LATELY: Final = 20
_WHOLE: Final = ("/".join(PUBLISHED.path), "/".join(LISTS.path), "/".join(REGISTERED.path))
_OVERVIEW: Final = "/".join(OVERVIEW.path)
#: So often the table of how all stands is kept; of no run, it does not go with one.
_MOST_WRITTEN: Final = 500
#: So many runs that failed or were cancelled are kept of whatever they were to make.
_IN_VAIN: Final = 20
#: So much of what was fetched is kept in pieces: what git itself finds right (gc.auto, gc.autoPackLimit).
_MOST_OBJECTS: Final = 6700
_MOST_PACKS: Final = 50
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{40}")
#: Names of an image in what is recorded of it.
_NAMES: Final = ("reference", "also tagged")

_SEEN: Final = TypeAdapter(dict[str, float])
_OVER: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Removal:
    """Something that goes: of a ``kind``, ``what`` it is, ``why``, its ``size`` in bytes as far as it is its own."""

    kind: str
    what: str
    why: str
    remove: Callable[[], object]
    size: int = 0

    @property
    def may_be_used(self) -> bool:
        """Whether it is something that runs use."""
        return self.kind not in ("run", "file", "history")


@dataclass(frozen=True)
class Pruned:
    """What went; ``kept``: what could not, with why."""

    removed: tuple[Removal, ...]
    kept: tuple[str, ...]


def prune(
    instance: dg.DagsterInstance, removals: Sequence[Removal], log: Callable[[str], None], *, own_run: str = ""
) -> Pruned:
    """Removes them; what something stands in the way of stays, and is told. ``own_run``: the run that does it."""
    removed: list[Removal] = []
    kept: list[str] = []
    for each in removals:
        if each.may_be_used and (busy := _busy(instance, own_run)):
            kept.append(f"{each.kind} {each.what} stays: run {busy[0][:8]} has begun meanwhile")
            log(kept[-1])
            continue
        if each.kind == "run" and kept:
            # By it what could not be removed is known to be ours.
            continue
        try:
            each.remove()
        except (FimgError, OSError) as error:
            kept.append(f"{each.kind} {each.what} stays: {error}")
            log(kept[-1])
            continue
        log(f"{each.kind} {each.what} removed: {each.why}")
        removed.append(each)
    return Pruned(tuple(removed), tuple(kept))


def superseded(
    instance: dg.DagsterInstance, settings: Settings, engines: Sequence[Engine], *, own_run: str = ""
) -> tuple[list[Removal], list[str]]:
    """Everything that goes, and what is not looked at now, with why. ``own_run``: the run that asks."""
    now = time.time()
    history = _history(instance)
    before = now - settings.prune_days * _DAY
    partitions = known_tags(instance)
    seen = _first_seen(settings.home, partitions, now)
    gone = [
        tag
        for tag in history.tags_before(before, partitions, tags(settings))
        # It may have been made in the web UI a minute ago, also again.
        if tag not in seen or seen[tag] < before
    ]
    last = history.last(settings.prune_keep, without=gone)
    found: list[Removal] = []
    waiting: list[str] = []
    busy = _busy(instance, own_run)
    if busy:
        # Runs stay, too: by what is on record of them images are known to be ours.
        waiting.append(f"runs are under way ({', '.join(run[:8] for run in busy)}): nothing of what they may use goes")
    else:
        there, away = _answering(engines)
        waiting += [f"{why}: what it has stays, and what may be of that" for why in away]
        going = [(engine, _superseded_names(engine, history, last, gone)) for engine in there]
        found += [
            Removal("image", name, why, partial(engine.remove, name))
            for engine, names in going
            for name, why in names.items()
        ]
        found += [] if away else _layers(settings, going)
        found += _bundles(history, gone)
        old = f"nothing was built under it for {settings.prune_days} days, and `fimg tag` does not list it"
        found += [
            Removal("tag", tag, old, partial(_forget_tag, instance, settings, tag)) for tag in gone if tag in partitions
        ]
        vain = _in_vain(instance, settings)
        found += _kept_for_runs(settings.home, before, {run.tags[REQUEST] for run in vain})
        left = {
            image.fingerprint
            for engine, names in going
            for image in engine.state().images
            if image.references - names.keys()
        }
        known_by = {each.run for each in history.made if each.built and each.fingerprint in left}
        whole = History([each for each in history.made if each.asset in _WHOLE]).last(_CARRIED_LATELY, without=gone)
        kept = {each.run for each in (*last, *whole)} | known_by | {run.run_id for run in vain}
        if not away:
            found += _shared_notes(settings.home, before, left)
            # By them what an engine has is known to be ours.
            found += _runs(instance, settings, kept, before)
    written = sum(each.asset == _OVERVIEW for each in history.made)
    if written > _MOST_WRITTEN:
        wipe = partial(instance.wipe_assets, [OVERVIEW])
        found.append(Removal("history", _OVERVIEW, f"it was written {written} times, of which one is looked at", wipe))
    return found, waiting


def _first_seen(home: Path, partitions: Iterable[str], now: float) -> dict[str, float]:
    """When tags were seen here first, in seconds since 1970; of those that are new that is ``now``."""
    file = home / "tags-seen.json"
    try:
        known = _SEEN.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        known = {}
    found = {tag: min(known.get(tag, now), now) for tag in partitions}
    if found != known:
        write_whole(file, _SEEN.dump_json(found).decode())
    return found


def _busy(instance: dg.DagsterInstance, own_run: str) -> list[str]:
    return [run.run_id for run in unfinished_runs(instance) if run.run_id != own_run]


def _forget_tag(instance: dg.DagsterInstance, settings: Settings, tag: str) -> None:
    remove_tag(instance, tag)
    freshness.forget(settings.home, tag)


def _history(instance: dg.DagsterInstance) -> History:
    made: list[Made] = []
    for key in (*KEYS, OVERVIEW):
        cursor: str | None = None
        while True:
            page = instance.fetch_materializations(key, limit=_PAGE, cursor=cursor)
            for record in page.records:
                each = record.asset_materialization
                if each is None:
                    continue
                names = frozenset(name for label in _NAMES for name in _text(each, label).split(", ") if name)
                made.append(
                    Made(
                        "/".join(key.path),
                        each.partition or "",
                        record.run_id,
                        record.timestamp,
                        (each.tags or {}).get(FINGERPRINT, ""),
                        names,
                        _pushed(each),
                        not _text(each, "result").startswith("reused"),
                        _text(each, "folder"),
                        _text(each, IMAGE_ID),
                    )
                )
            if not page.has_more:
                break
            cursor = page.cursor
    return History(sorted(made, key=lambda each: each.at, reverse=True))


def _text(made: dg.AssetMaterialization, label: str) -> str:
    value = made.metadata.get(label)
    return str(value.value or "") if isinstance(value, (dg.TextMetadataValue, dg.PathMetadataValue)) else ""


def _pushed(made: dg.AssetMaterialization) -> frozenset[str]:
    digests = made.metadata.get(DIGESTS)
    value: Any = digests.value if isinstance(digests, dg.JsonMetadataValue) else {}
    return frozenset(each["fingerprint"] for each in value.values())


def _answering(engines: Sequence[Engine]) -> tuple[list[Engine], list[str]]:
    """The engines that answer, and why others don't."""
    there: list[Engine] = []
    away: list[str] = []
    for engine in engines:
        try:
            engine.state()
        except FimgError as error:
            if not error.transient or len(engines) == 1:
                raise
            away.append(error.message)
        else:
            there.append(engine)
    return there, away


def _superseded_names(engine: Engine, history: History, last: Sequence[Made], gone: Sequence[str]) -> Mapping[str, str]:
    """The names of images that go of an engine, and why."""
    # Tags may share names: those of their base images, with one BASE_TAG.
    names = {name for each in history.made if each.tag in gone for name in each.names}
    names -= {name for each in last for name in each.names}
    known = {each.fingerprint for each in history.made if each.fingerprint}
    built = {each.fingerprint for each in history.made if each.fingerprint and each.built}
    kept = {each.fingerprint for each in last} | {carried for each in last for carried in each.carries}
    local = {base.local_reference(platform) for base in BASES.values() for platform in PLATFORMS}
    images, used = engine.state().images, engine.used_images()
    ids = {each.image for each in history.made if each.image}
    unused = (each for each in images if each.image_id not in used)
    going = dict(superseded_images(unused, known, built, kept, names, ids))
    return going | dict.fromkeys(superseded_bases(images, local), "builds stand on a newer one")


def _layers(settings: Settings, going: Sequence[tuple[Engine, Mapping[str, str]]]) -> Iterator[Removal]:
    """Layers of the store that no image on any engine has any more, without the names that go of each."""
    layers: set[str] = set()
    for engine, names in going:
        for image in engine.state().images:
            if image.references - names.keys():
                record = engine.inspect(image.image_id) or {}
                layers |= set(record.get("RootFS", {}).get("Layers") or ())
    for diff_id, files in LayerStore(settings.home / "store").superseded(layers).items():
        size = sum(file.stat().st_size for file in files)
        yield Removal("layer", diff_id, "no image on the engine has it any more", partial(_unlink, files), size)


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _bundles(history: History, gone: Sequence[str]) -> Iterator[Removal]:
    """Those that were written from here: in a folder that a team shares there are others' too."""
    for folder in sorted({Path(each.folder) for each in history.made if each.folder and each.tag in gone}):
        lock = folders.current(folder) if folder.is_dir() else None
        if lock is not None and lock.tag in gone:
            size = sum(file.size for bundle in lock.bundles.values() for file in bundle.all_files)
            yield Removal("bundle", str(folder), "its tag is gone", partial(_remove_bundle, folder), size)


def _remove_bundle(folder: Path) -> None:
    """Removes what is ours of a folder, and the folder if nothing else is in it."""
    lock = folders.current(folder)
    names = set() if lock is None else {file.name for bundle in lock.bundles.values() for file in bundle.all_files}
    for name in (folders.SUMS, *sorted(names), folders.LOADER, locks.NAME):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _runs(instance: dg.DagsterInstance, settings: Settings, kept: Collection[str], before: float) -> Iterator[Removal]:
    """Old runs with their logs, but for those ``kept``; and what runs left that are gone."""
    ended = {
        record.dagster_run.run_id: record.end_time or record.update_timestamp.timestamp()
        for record in instance.get_run_records(dg.RunsFilter(statuses=_OVER))
    }
    for run in old_runs(ended, kept, before):
        yield Removal(
            "run",
            run,
            f"it ended more than {settings.prune_days} days ago",
            partial(_remove_run, instance, settings.home, run),
            _size(run_folder(settings.home, run)),
        )
    for folder in (settings.home / "runs", settings.home / "logs"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in ended and path.stat().st_mtime < before:
                remove = partial(shutil.rmtree, path) if path.is_dir() else path.unlink
                yield Removal("file", f"{folder.name}/{path.name}", "of a run that is gone", remove, _size(path))


def _in_vain(instance: dg.DagsterInstance, settings: Settings) -> list[dg.DagsterRun]:
    """The last runs that were asked for and came to nothing, of whatever was to be made for tags that are wanted.

    By them it is known what was tried too often, or was ended by a person: neither comes back by itself.
    """
    asked = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    wanted = tags(settings)
    tries: Counter[tuple[str, str]] = Counter()
    found: list[dg.DagsterRun] = []
    # The latest first.
    for record in instance.get_run_records(asked):
        run = record.dagster_run
        partition = run.tags.get("dagster/partition", "")
        if REQUEST not in run.tags or partition.rpartition("|")[2] not in wanted:
            continue
        tried = [(partition, name) for name in wanted_by(settings.home, run.tags[REQUEST])]
        if any(tries[item] < _IN_VAIN for item in tried):
            found.append(run)
        tries.update(tried)
    return found


def _kept_for_runs(home: Path, before: float, needed: Collection[str]) -> Iterator[Removal]:
    """What runs read or lock that no run has for long; and what was fetched piece by piece, as one piece.

    ``needed``: sources that stay.
    """
    for folder in (home / "sources", home / "locks"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            # Locks of bases are few, and also taken by what is no run.
            ours = path.is_dir() or _FINGERPRINT.fullmatch(path.name)
            if ours and path.name not in needed and path.stat().st_mtime < before:
                remove = partial(shutil.rmtree, path) if path.is_dir() else path.unlink
                yield Removal(folder.name[:-1], path.name, "no run has used it for long", remove, _size(path))
    store = ObjectStore.open(home)
    objects, packs = store.pieces()
    if objects > _MOST_OBJECTS or packs > _MOST_PACKS:
        yield Removal(
            "object store", str(store.git_dir), f"{objects} objects and {packs} packs, kept as one", store.repack
        )


def _shared_notes(home: Path, before: float, held: Collection[str | None]) -> Iterator[Removal]:
    """By which digest something was shared, of what no engine has."""
    folder = home / "shared"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in held and path.stat().st_mtime < before:
            yield Removal("shared digest", path.name, "no engine has what it is of", path.unlink, _size(path))


def _remove_run(instance: dg.DagsterInstance, home: Path, run: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run])
    shutil.rmtree(run_folder(home, run), ignore_errors=True)
    instance.delete_run(run)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def summary(removals: Sequence[Removal]) -> list[tuple[str, int, int]]:
    """By kind: how many go, and how many bytes are theirs alone (of images the engine knows)."""
    kinds = dict.fromkeys(each.kind for each in removals)
    by_kind = {kind: [each for each in removals if each.kind == kind] for kind in kinds}
    return [(kind, len(found), sum(each.size for each in found)) for kind, found in by_kind.items()]
