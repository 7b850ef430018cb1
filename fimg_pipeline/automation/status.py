"""How every image of every watched tag stands: built, stale, missing, failed or being built, and why.

The web UI's own badges don't say it: of partitions they only know that something was made once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.run_requests import attempts, left_alone
from fimg_pipeline.automation.stale import Record, counts_from, decide, items, stale
from fimg_pipeline.automation.watching import Watched, finished
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.images import lineage, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.model import Plan, PlannedImage, Status
from fimg_pipeline.plan.selection import select
from fimg_pipeline.progress import KILLED, Event, Outcomes, first_line, outcomes

#: Of an image of a release, which is built once.
_GONE: Final = "it was built, and is gone from the engine: build it by hand to have it again"


class State(str, Enum):
    """How an image of a tag stands."""

    BUILT = "built"
    STALE = "stale"
    MISSING = "missing"
    FAILED = "failed"
    BUILDING = "building"
    UNBUILDABLE = "unbuildable"


@dataclass(frozen=True)
class ImageStatus:
    """An image of a platform's tag. ``at``: when it was last made (seconds since 1970), of FATE's ``commit``.

    ``run``: the one that builds it, or in which it failed.
    """

    name: str
    state: State
    why: str = ""
    at: float | None = None
    commit: str = ""
    run: str = ""


@dataclass(frozen=True)
class PartitionStatus:
    """A platform's tag: its images in build order, or why nothing can be said. ``commit``: what it stands for.

    ``passing``: that may be over by itself, as when a repository does not answer.
    """

    platform: Platform
    tag: str
    images: tuple[ImageStatus, ...] = ()
    commit: str = ""
    problem: str = ""
    passing: bool = False

    def count(self, state: State) -> int:
        return sum(image.state is state for image in self.images)

    @property
    def wanting(self) -> tuple[ImageStatus, ...]:
        """The images that are not as they should be, whoever has to do something about it."""
        return tuple(image for image in self.images if image.state not in (State.BUILT, State.UNBUILDABLE))


@dataclass(frozen=True)
class UnderWay:
    """A run that is waiting or under way: what it is to make (asset keys as text), and what became of that so far."""

    outcomes: Outcomes
    selection: frozenset[str]


def status(instance: dg.DagsterInstance, watched: Watched) -> PartitionStatus:
    """How one of what is watched stands, by its plan, its records and its last runs."""
    partition = PartitionStatus(watched.platform, watched.tag)
    if watched.problem is not None:
        return replace(_unknown(partition, watched.problem), passing=watched.passing)
    if watched.built_once and watched.run is None:
        try:
            return replace(partition, images=_built_once(watched), commit=watched.fixed or "")
        except FimgError as error:
            return _unknown(partition, error)
    try:
        plan = watched.plan
    except FimgError as error:
        return _unknown(partition, error)
    records = watched.records
    under_way = None
    if watched.run is not None:
        under_way = UnderWay(outcomes(watched.settings.home, watched.run.run_id), _to_be_made(watched, watched.run))
    # What failed before something was made says nothing of it any more.
    lacking, now = items(stale(plan, records)), time.time()
    since = min((counts_from(item, records.get(item.name), now) for item in lacking), default=None)
    before = [] if since is None else finished(instance, watched.partition, since)
    over = [_ended(watched, record.dagster_run) for record in before]
    source = _last(("source", "source"), over)
    tried = attempts(instance, watched, lacking, now)
    decision = decide(lacking, records, tried, now)
    waiting = {name: decision.waiting[name] for name in decision.by_hand}
    if watched.fixed is None:
        at_night = decision.by_hand - decide(lacking, records, tried, now, once_more=True).by_hand
        waiting |= {name: f"{waiting[name]}, or wait for `nightly`" for name in at_night}
    if plan.source.dirty:
        waiting = dict.fromkeys((item.name for item in lacking), left_alone(watched))
    return replace(
        partition,
        images=image_states(plan, records, over, under_way, waiting),
        commit=plan.source.fate.commit,
        problem=f"its source: {first_line(source[0].message)}" if source and source[0].what == "failed" else "",
    )


def _unknown(partition: PartitionStatus, error: FimgError) -> PartitionStatus:
    return replace(partition, problem=error.message, passing=error.transient)


def _to_be_made(watched: Watched, run: dg.DagsterRun) -> frozenset[str]:
    """What a run is to make; one of a whole job that builds: all that is selected."""
    if run.asset_selection:
        return frozenset("/".join(key.path) for key in run.asset_selection)
    return frozenset(watched.selected if run.job_name.startswith(BUILD) else ())


def _ended(watched: Watched, run: dg.DagsterRun) -> Outcomes:
    """What became of what a run was to make; of one that failed without a step of it saying so, that it did."""
    did_fail = run.status is dg.DagsterRunStatus.FAILURE
    found = outcomes(watched.settings.home, run.run_id, failed=did_fail)
    if did_fail and not any(event.what == "failed" for event in found.events.values()):
        for name in _to_be_made(watched, run):
            kind, _, item = name.rpartition("/")
            if kind in ("", "package"):
                found.add_failure("package" if kind else "image", item, KILLED)
    return found


def image_states(
    plan: Plan,
    records: Mapping[str, Record],
    runs: Sequence[Outcomes],
    now: UnderWay | None = None,
    waiting: Mapping[str, str] | None = None,
) -> tuple[ImageStatus, ...]:
    """How the images of ``plan`` stand, in build order. ``runs``: what became of those that are over, latest first.

    ``waiting``: what is left to people, by the key of its asset as text, with why.
    """
    to_make = {asset_name(item) for item in stale(plan, records)}
    tried = [*([now.outcomes] if now is not None else []), *runs]
    found: dict[str, ImageStatus] = {}
    #: What failed below an image.
    broken: dict[str, str] = {}
    for image in plan.images:
        record = records.get(image.name)
        below = image.image.parent or ""
        if image.status is Status.UNBUILDABLE:
            each = ImageStatus(image.name, State.UNBUILDABLE, image.reason)
        elif now is not None and image.name in now.selection and not _is_over(now.outcomes.of(image)):
            each = ImageStatus(image.name, State.BUILDING, run=now.outcomes.run_id or "")
        elif image.name not in to_make:
            newer = _newer_below(plan, image)
            each = ImageStatus(image.name, State.STALE if newer else State.BUILT, newer)
        elif (failure := _failure(image, tried)) is not None:
            broken[image.name] = image.name
            each = ImageStatus(image.name, State.FAILED, failure[0], run=failure[1])
        else:
            state = State.STALE if record is not None and record.passed else State.MISSING
            if below in broken:
                broken[image.name] = broken[below]
            why = f"it stands on {broken[below]}, which failed" if below in broken else _why(image, record)
            each = ImageStatus(image.name, state, why)
        if each.state not in (State.BUILT, State.BUILDING, State.UNBUILDABLE):
            each = replace(each, why="; ".join([each.why, *_left_to_people(image, waiting or {})]))
        found[image.name] = each if record is None else replace(each, at=record.at, commit=record.commit)
    return tuple(found.values())


def _left_to_people(image: PlannedImage, waiting: Mapping[str, str]) -> list[str]:
    """Why nothing makes it, or a package of it, by itself."""
    own = [waiting[image.name]] if image.name in waiting else []
    packages = [f"package/{name}" for name in image.image.recipe.packages]
    return own or [f"{name}: {waiting[name]}" for name in packages if name in waiting][:1]


def _newer_below(plan: Plan, image: PlannedImage) -> str:
    """What it stands on or takes in that there is a newer one of, in a person's words."""
    recipes = [each.recipe for each in lineage(image.name)]
    bases = {base for recipe in recipes for base in recipe.bases}
    bases |= {base for recipe in recipes for name in recipe.packages for base in RECIPES[PACKAGES[name].recipe].bases}
    newer = [BASES[name].reference for name in plan.newer_bases if name in bases]
    return f"there is a newer {' and '.join(newer)}" if newer else ""


def _built_once(watched: Watched) -> tuple[ImageStatus, ...]:
    """The images of a release that is complete; what it would be made of today does not count.

    Nor does that its engine is away: nothing has to be made there.
    """
    try:
        gone = watched.gone
    except FimgError as error:
        if not error.transient:
            raise
        gone = []
    found: list[ImageStatus] = []
    for name in (selected.name for selected in select(watched.settings.features)):
        reason = unbuildable_reason(name, watched.platform)
        if reason is not None:
            found.append(ImageStatus(name, State.UNBUILDABLE, reason))
            continue
        state, why = (State.MISSING, _GONE) if name in gone else (State.BUILT, "")
        found.append(ImageStatus(name, state, why, watched.records[name].at, watched.records[name].commit))
    return tuple(found)


def _is_over(event: Event | None) -> bool:
    return event is not None and event.what != "started"


def _failure(image: PlannedImage, tried: Sequence[Outcomes]) -> tuple[str, str] | None:
    """Why it failed when it was last tried, or a package of it, and in which run; ``None`` if it did not."""
    packages = [(("package", name), f"package {name}: ") for name in image.image.recipe.packages]
    for key, told in ((("image", image.name), ""), *packages):
        last = _last(key, tried)
        if last is not None and last[0].what == "failed":
            return told + first_line(last[0].message), last[1]
    return None


def _last(key: tuple[str, str], tried: Sequence[Outcomes]) -> tuple[Event, str] | None:
    """What it came to when it was last tried, and in which run."""
    found = ((event, run.run_id or "") for run in tried if _is_over(event := run.events.get(key)) and event is not None)
    return next(found, None)


def _why(image: PlannedImage, record: Record | None) -> str:
    on_engine = image.status in (Status.CURRENT, Status.REUSABLE)
    if not on_engine:
        return image.reason
    if record is None:
        return "it is on the engine, but not on record for this tag"
    if not record.is_named(image.reference):
        return f"it was named {record.reference}"
    return "a check failed" if not record.passed else "it is on the engine, but on record is what it was before"


def as_json(found: Iterable[PartitionStatus]) -> list[dict[str, Any]]:
    """The list of ``fimg status --json``; scripts read it, so names only get added."""
    return [
        {
            "tag": partition.tag,
            "platform": partition.platform,
            "commit": partition.commit or None,
            "problem": partition.problem or None,
            "images": [
                {
                    "name": image.name,
                    "state": image.state.value,
                    "why": image.why or None,
                    "at": None if image.at is None else datetime.fromtimestamp(image.at, timezone.utc).isoformat(),
                    "commit": image.commit or None,
                    "run": image.run or None,
                }
                for image in partition.images
            ],
        }
        for partition in found
    ]
