"""What the tags need that are watched: asks source, engine and instance, and leaves the deciding to ``stale.py``.

Watched are the configured tag and those that ``fimg tag add`` recorded. One that stands for a branch, or for FATE_DIR
as it stands, is followed: whatever changes is built. One that stands for a tag or a commit is built once: recipes or
bases that change later don't reach a release unless somebody asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg

from fimg_pipeline.assets.keys import SOURCE, image_key, package_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.stale import Attempt, Decision, Record, decide
from fimg_pipeline.catalog.images import IMAGES, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.fingerprint import fingerprint
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.plan.selection import select
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.history import commits
from fimg_pipeline.source.pins import keep
from fimg_pipeline.source.refs import ORIGIN
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.source.tags import recorded, ref_of
from fimg_pipeline.state import write_whole

#: Tag of a run that was asked for: the name under which its source is pinned, and what it was to make written down.
REQUEST: Final = "fimg/request"
#: All that is looked at of an instance.
KEYS: Final = (SOURCE, *map(package_key, PACKAGES), *map(image_key, IMAGES))

_UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: So many runs are looked at for what was tried.
_LOOKED_BACK: Final = 50
#: So many commits are told of in a tag of the run, and so many are counted.
_TOLD: Final = 3
_COUNTED: Final = 100


@dataclass(frozen=True)
class Look:
    """What a platform's tag needs: a run, or none, with a line that says why."""

    platform: Platform
    tag: str
    told: str
    request: dg.RunRequest | None = None


def watched(settings: Settings) -> list[str]:
    """The tags that are watched, the configured one first."""
    return list(dict.fromkeys([settings.tag, *recorded(settings.home)]))


def look(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    ledger: Ledger,
    platforms: Sequence[Platform],
    now: float,
    *,
    night: str = "",
) -> Iterator[Look]:
    """Looks at every watched tag for ``platforms``; ``now`` in seconds since 1970.

    ``night``, by its date: at those that are followed only, and as if nothing had been tried. What failed in the
    evening, for a registry that did not answer, is to be there in the morning.
    """
    configured = pipeline.settings()
    tags = watched(configured)
    refs = {tag: ref_of(configured.home, tag) for tag in tags}
    here = pipeline.fixed_commits(configured, [ref for ref in refs.values() if ref and not ref.startswith(ORIGIN)])
    ledger.read(instance, KEYS)
    busy = {
        record.dagster_run.tags.get("dagster/partition")
        for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
    }
    for tag in tags:
        try:
            fixed = _fixed(pipeline, tag, refs[tag], here)
        except FimgError as error:
            for platform in platforms:
                yield Look(platform, tag, f"can't be looked at: {error.message}")
            continue
        if fixed is not None and night:
            continue
        for platform in platforms:
            partition = str(partition_key(platform, tag))
            settings = pipeline.settings(TAG=tag, Platform=platform)
            records = ledger.records(partition)
            if partition in busy:
                yield Look(platform, tag, "a run is under way")
            elif fixed is not None and _complete(settings, records, fixed):
                yield Look(platform, tag, f"built at {fixed[:12]}")
            else:
                try:
                    plan = pipeline.plan(settings)
                    attempts = [] if night else _attempts(instance, settings, plan)
                    yield _look_at(settings, plan, records, attempts, now, night)
                except FimgError as error:
                    yield Look(platform, tag, f"can't be looked at: {error.message}")


def _fixed(pipeline: Pipeline, tag: str, ref: str | None, here: Mapping[str, str]) -> str | None:
    """The commit a tag stands for that does not move; ``None`` for one that is followed.

    ``here`` are those in FATE_DIR; a release that only its origin has is asked for there.
    """
    if ref is None or ref.startswith(ORIGIN):
        return None
    if ref in here:
        return here[ref]
    at = pipeline.standing(pipeline.settings(TAG=tag))
    return None if at.followed else at.fate.commit


def _complete(settings: Settings, records: Mapping[str, Record], commit: str) -> bool:
    """Whether all that the switches select was made of ``commit``."""
    found = [
        records.get(selected.name)
        for selected in select(settings.features)
        if unbuildable_reason(selected.name, settings.platform) is None
    ]
    return all(record is not None and record.passed and record.commit == commit for record in found)


def _look_at(
    settings: Settings,
    plan: Plan,
    records: Mapping[str, Record],
    attempts: Sequence[Attempt],
    now: float,
    night: str,
) -> Look:
    if plan.source.dirty:
        return Look(plan.platform, plan.tag, "FATE_DIR has changes that are not committed: `fimg build` builds those")
    decision = decide(plan, records, attempts, now)
    waiting = "; ".join(f"{name} {why}" for name, why in decision.waiting.items() if not why.startswith("waits for"))
    if not decision.wanted:
        return Look(plan.platform, plan.tag, waiting or f"up to date at {plan.source.fate.commit[:12]}")
    request = _request(settings, plan, decision, records, night)
    told = f"{len(decision.wanted)} to make: {', '.join(decision.wanted)}" + (f"; {waiting}" if waiting else "")
    return Look(plan.platform, plan.tag, told, request)


def _attempts(instance: dg.DagsterInstance, settings: Settings, plan: Plan) -> list[Attempt]:
    """The runs that were asked for on this platform and tag and are over, the latest first."""
    partition = str(partition_key(plan.platform, plan.tag))
    found = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": partition}), limit=_LOOKED_BACK)
    attempts = []
    for record in found:
        run = record.dagster_run
        key = run.tags.get(REQUEST)
        if key and run.is_finished:
            ended = record.end_time or record.update_timestamp.timestamp()
            attempts.append(Attempt(_wanted(settings, key), ended, run.status is dg.DagsterRunStatus.CANCELED))
    return attempts


def _request(
    settings: Settings, plan: Plan, decision: Decision, records: Mapping[str, Record], night: str
) -> dg.RunRequest:
    """A run that makes what is wanted, of exactly the source that was looked at."""
    fate = plan.source.fate
    key = fingerprint({**decision.wanted, "commit": fate.commit, "tag": plan.tag, "platform": plan.platform})
    keep(settings.home, plan.tag, key, plan.source)
    write_whole(_wanted_file(settings, key), json.dumps(dict(decision.wanted)))
    return dg.RunRequest(
        # A schedule asks once a night; a sensor as often as it has to.
        run_key=f"{night} {plan.tag} {plan.platform}" if night else None,
        partition_key=partition_key(plan.platform, plan.tag),
        asset_selection=[SOURCE, *(dg.AssetKey(name.split("/")) for name in decision.wanted)],
        run_config={"resources": {"pipeline": {"config": {"source": key}}}},
        tags={
            REQUEST: key,
            "fimg/commit": fate.commit[:12],
            "fimg/brings": _brought(settings, plan, records.get("/".join(SOURCE.path))),
            # It is asked for again by this, not by whatever retries runs.
            "dagster/max_retries": "0",
        },
    )


def _brought(settings: Settings, plan: Plan, before: Record | None) -> str:
    """The commits a run brings, the latest first; where there is none, what else changed."""
    fate = plan.source.fate
    if before is None or not before.commit:
        return f"the first build, at {fate.ref}"
    if before.commit == fate.commit:
        reasons = dict.fromkeys(image.reason for image in plan.buildable if image.reason.startswith("changed: "))
        return "; ".join(reasons) or "no new commit"
    store = ObjectStore.open(settings.home, [Path(folder) for folder in plan.source.object_directories])
    found = commits(store, fate.commit, since=before.commit, most=_COUNTED)
    if not found:
        return f"back to {fate.commit[:12]}"
    told = [f"{commit.commit[:12]} {commit.subject} ({commit.author})" for commit in found[:_TOLD]]
    more = len(found) - _TOLD
    return "; ".join([*told, *([f"and {more}{'' if len(found) < _COUNTED else ' or'} more"] if more > 0 else [])])


def _wanted(settings: Settings, key: str) -> Mapping[str, str]:
    """What the run that was asked for by ``key`` was to make; nothing where that is not known any more."""
    try:
        found: dict[str, str] = json.loads(_wanted_file(settings, key).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _wanted_file(settings: Settings, key: str) -> Path:
    return settings.home / "sources" / key / "wanted.json"
