"""What people may have to hear of, found by looking: of which tags nothing can be said, and what is as it should be.

Levels, as of what is built: whatever look, run or table is lost, the next look comes to the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.broken import Broken
from fimg_pipeline.automation.deliveries import is_made, items, lists_are_made
from fimg_pipeline.automation.run_requests import decided
from fimg_pipeline.automation.stale import stale
from fimg_pipeline.automation.watching import Memory, Watched, in_time, survey
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.errors import FimgError

#: What failed, as it is called, where nobody can say what is to be built.
UNKNOWN: Final = "what it is built from"


@dataclass(frozen=True)
class Checkup:
    """How a partition was found. ``settled``: of what failed in it, by name, what is as it should be by now.

    ``problem``: why nothing can be said of it; ``passing``: that may be over by itself.
    """

    partition: str
    settled: tuple[str, ...] = ()
    problem: str = ""
    passing: bool = False


def checkups(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    memory: Memory,
    broken: Mapping[str, Broken],
    seconds: float,
    *,
    first: str = "",
) -> tuple[list[Checkup], str]:
    """How all that is watched is, as far as there is time (seconds), and the tag to go on with.

    ``broken``: by partition, what people were told of. ``first``: the tag to begin with.
    """

    def looks_at(platforms: Sequence[Watched]) -> list[Checkup]:
        tag = platforms[0].tag
        found = [_checked(instance, each, broken.get(each.partition)) for each in platforms]
        if tag in broken and lists_are_made(memory.ledger, platforms):
            found.append(Checkup(tag, settled=tuple(broken[tag].failed)))
        return found

    return in_time(
        survey(instance, pipeline, memory, pipeline.settings().watched_platforms, first=first), looks_at, seconds
    )


def _checked(instance: dg.DagsterInstance, watched: Watched, broken: Broken | None) -> Checkup:
    where = watched.partition
    if watched.problem is not None:
        return Checkup(where, problem=watched.problem.message, passing=watched.passing)
    try:
        if not watched.built_once:
            _ = watched.plan
        if broken is None or watched.run is not None:
            return Checkup(where)
        return Checkup(where, settled=tuple(_settled(instance, watched, broken.failed)))
    except FimgError as error:
        return Checkup(where, problem=error.message, passing=error.transient)


def _settled(instance: dg.DagsterInstance, watched: Watched, failed: Iterable[str]) -> Iterable[str]:
    """Images and packages that are made as planned, what was carried elsewhere as it should be, and builds of all.

    Of what nobody asks for by itself (a push that somebody made) only a run tells. What could not be looked at works
    once nothing is to be made of it by itself: what a person ended, or has not committed, is not waited for.
    """
    lacking = set() if watched.built_once else {*map(asset_name, stale(watched.plan, watched.records))}
    carried = {item.name for item in items(watched, lacking)[0] if is_made(item, watched.records)}
    for name in failed:
        asset = name.replace(" ", "/", 1)
        if name == UNKNOWN:
            settled = not lacking or watched.plan.source.dirty or not decided(instance, watched, time.time())[0].wanted
        elif name in IMAGES or name.startswith("package "):
            settled = asset not in lacking
        elif name.startswith(("job build", "job __ASSET_JOB", "source ")):
            settled = not lacking
        else:
            settled = asset in carried
        if settled:
            yield name
