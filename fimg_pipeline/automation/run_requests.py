"""Which runs to ask for: of what is watched, what is stale and can be tried now; ``stale.py`` decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from fimg_pipeline.assets.keys import SOURCE, asset_name
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.automation.brings import brings
from fimg_pipeline.automation.stale import (
    Attempt,
    Item,
    Record,
    counts_from,
    decide,
    items,
    made_otherwise,
    stale,
)
from fimg_pipeline.automation.watching import Watched, finished
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.fingerprint import fingerprint
from fimg_pipeline.plan.model import Planned
from fimg_pipeline.progress import outcomes
from fimg_pipeline.source.history import uncommitted
from fimg_pipeline.source.pins import keep
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.state import write_whole

#: Tag of a run that was asked for: the name under which its source is pinned, and what it was to make written down.
REQUEST: Final = "fimg/request"

#: So many files are named that are not committed.
_NAMED: Final = 3
_WANTED: Final = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Look:
    """What a platform's tag needs: a run, or none, with a line that says why."""

    platform: Platform
    tag: str
    told: str
    request: dg.RunRequest | None = None

    @property
    def partition(self) -> str:
        return str(partition_key(self.platform, self.tag))


def look(instance: dg.DagsterInstance, watched: Watched, now: float, *, night: str = "") -> Look:
    """Looks at one of what is watched; ``now`` in seconds since 1970.

    ``night``, by its date: once more what was given up. What failed in the evening, for a registry that did not
    answer, is to be there in the morning.
    """
    platform, tag = watched.platform, watched.tag
    if watched.problem is not None:
        return Look(platform, tag, f"can't be looked at: {watched.problem.message}")
    if watched.run is not None:
        return Look(platform, tag, "a run is under way")
    if watched.built_once:
        return Look(platform, tag, f"built at {(watched.fixed or '')[:12]}")
    try:
        plan = watched.plan
        if plan.source.dirty:
            return Look(platform, tag, f"{left_alone(watched)}: `fimg build` builds it as it stands")
        to_make = items(lacking(watched))
        tried = attempts(instance, watched, to_make, now)
        decision = decide(to_make, watched.records, tried, now, once_more=bool(night))
        waiting = "; ".join(
            f"{name} {why}" for name, why in decision.waiting.items() if not why.startswith("waits for")
        )
        if not decision.wanted:
            return Look(platform, tag, waiting or f"up to date at {plan.source.fate.commit[:12]}")
        asked = request(
            watched,
            decision.wanted,
            [SOURCE, *(dg.AssetKey(name.split("/")) for name in decision.wanted)],
            # A schedule asks once a night; a sensor as often as it has to.
            run_key=f"{night} {tag} {platform}" if night else None,
            brings=brings(instance, watched, decision.wanted, tried),
        )
    except FimgError as error:
        return Look(platform, tag, f"can't be looked at: {error.message}")
    told = f"{len(decision.wanted)} to make: {', '.join(decision.wanted)}" + (f"; {waiting}" if waiting else "")
    return Look(platform, tag, told, asked)


def left_alone(watched: Watched) -> str:
    """Why nothing is made by itself of FATE_DIR as it stands."""
    source, told = watched.plan.source, []
    store = ObjectStore.open(watched.settings.home, source.object_directories)
    for changed in source.repositories.values():
        if not changed.dirty:
            continue
        paths = uncommitted(store, changed)
        where = {"fate": "FATE_DIR", "ipcl": "IPCL_PKG_DIR"}.get(changed.name, f"{changed.name} in FATE_DIR")
        named = ", ".join([*paths[:_NAMED], *(["…"] if len(paths) > _NAMED else [])])
        told.append(
            f"{where} has changes that are not committed ({named})"
            if paths
            else f"{where} is at another commit than FATE pins (git submodule update)"
        )
    return "; ".join(told)


def lacking(watched: Watched) -> list[Planned]:
    """What is stale; of a tag that does not move also what is on record for another commit it stood for.

    That costs nothing where it is the same, and then the tag is known to be built.
    """
    plan, records = watched.plan, watched.records
    outdated = {*map(asset_name, stale(plan, records))}
    if watched.fixed is not None:
        outdated |= {name for name in watched.selected if name in records and records[name].commit != watched.fixed}
    return [item for item in (*plan.packages, *plan.buildable) if asset_name(item) in outdated]


def attempts(
    instance: dg.DagsterInstance,
    watched: Watched,
    items: Sequence[Item],
    now: float,
    *,
    partition: str | None = None,
    records: Mapping[str, Record] | None = None,
) -> list[Attempt]:
    """The runs that were asked for on this platform's tag (or ``partition``, with its ``records``) and are over.

    The latest first, as far back as they count for one of ``items``.
    """
    if not items:
        return []
    known = watched.records if records is None else records
    since = min(counts_from(item, known.get(item.name), now) for item in items)
    found = _attempts_since(instance, watched, partition or watched.partition, since)
    if since and any(made_otherwise(item, known.get(item.name), found) for item in items):
        found = _attempts_since(instance, watched, partition or watched.partition, 0.0)
    return found


def _attempts_since(instance: dg.DagsterInstance, watched: Watched, partition: str, since: float) -> list[Attempt]:
    found = []
    for record in finished(instance, partition, since):
        run = record.dagster_run
        key = run.tags.get(REQUEST)
        if key:
            ended = record.end_time or record.update_timestamp.timestamp()
            began = record.start_time or record.create_timestamp.timestamp()
            cancelled = run.status is dg.DagsterRunStatus.CANCELED
            wanted = wanted_by(watched.settings.home, key)
            came_to = wanted if cancelled else _tried(watched, run, wanted)
            found.append(Attempt(came_to, ended, cancelled, began, _made(watched, run.run_id)))
    return found


def _tried(watched: Watched, run: dg.DagsterRun, wanted: Mapping[str, str]) -> Mapping[str, str]:
    """Of what a run was to make what it came to: not what stood on something that failed, and was never begun.

    Of a run that no step of failed (it was killed between two, it never began) that is all of it; and where the source
    could not be had.
    """
    did_fail = run.status is dg.DagsterRunStatus.FAILURE
    events = outcomes(watched.settings.home, run.run_id, failed=did_fail).events.values()
    failed = {"/".join((event.kind, event.name)) for event in events if event.what == "failed"}
    if not failed or "source/source" in failed:
        return wanted
    return {name: value for name, value in wanted.items() if name in failed or f"image/{name}" in failed}


def _made(watched: Watched, run_id: str) -> frozenset[str]:
    """What was made in a run, or found, by the keys of its assets as text."""
    events = outcomes(watched.settings.home, run_id).events.values()
    made = (event for event in events if event.what in ("built", "reused"))
    return frozenset(event.name if event.kind == "image" else f"{event.kind}/{event.name}" for event in made)


def request(
    watched: Watched,
    wanted: Mapping[str, str],
    selection: Sequence[dg.AssetKey],
    *,
    job: str | None = None,
    partition: str | None = None,
    run_key: str | None = None,
    brings: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """A run that makes what is ``wanted`` (asset keys as text → what of it), of the source that was looked at.

    ``partition``: of what is made for a tag, not for a platform of it. ``brings``: tags that say what is new of it.
    """
    fate = watched.plan.source.fate
    where = partition or watched.partition
    # With where its objects are: what was pinned before FATE_DIR moved is of no use any more.
    objects = " ".join(watched.plan.source.object_directories)
    key = fingerprint({**wanted, "commit": fate.commit, "partition": where, "objects": objects})
    keep(watched.settings.home, watched.tag, key, watched.plan.source)
    write_whole(_wanted_file(watched.settings.home, key), json.dumps(dict(wanted)))
    return dg.RunRequest(
        run_key=run_key,
        job_name=job,
        partition_key=where if partition else partition_key(watched.platform, watched.tag),
        asset_selection=list(selection),
        run_config={"resources": {"pipeline": {"config": {"source": key}}}},
        tags={
            REQUEST: key,
            "fimg/commit": fate.commit[:12],
            **(brings or {}),
            # It is asked for again by this, not by whatever retries runs.
            "dagster/max_retries": "0",
        },
    )


def wanted_by(home: Path, key: str) -> Mapping[str, str]:
    """What the run that was asked for by ``key`` was to make (asset keys as text → what of it), if that is known."""
    try:
        return _WANTED.validate_json(_wanted_file(home, key).read_bytes())
    except (OSError, ValidationError):
        return {}


def _wanted_file(home: Path, key: str) -> Path:
    # No tag begins with a dot.
    return home / "sources" / key / ".wanted.json"
