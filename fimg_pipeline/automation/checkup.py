"""What people may have to hear of, found by looking: of which tags nothing can be said, and what is as it should be.

Levels, as of what is built: whatever run or table is lost, the next look comes to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.asked import is_build_of_all, is_made_by_builds
from fimg_pipeline.automation.broken import UNKNOWN
from fimg_pipeline.automation.deliveries import JOBS, is_made, items, lists_are_made
from fimg_pipeline.automation.run_requests import lacking
from fimg_pipeline.automation.stale import stale
from fimg_pipeline.automation.watching import Memory, Watched, in_time, survey
from fimg_pipeline.errors import FimgError


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
    failed: Mapping[str, Collection[str]],
    first: str,
) -> tuple[list[Checkup], str]:
    """How what is watched is, as far as there is time, and the tag to go on with, if it was not all of it.

    ``failed``: by partition, the names of what did and was not mended by a run. ``first``: the tag to begin with.
    """

    def looks_at(platforms: Sequence[Watched]) -> list[Checkup]:
        tag = platforms[0].tag
        found = [_checked(each, failed.get(each.partition, ())) for each in platforms]
        if tag in failed and lists_are_made(memory.ledger, platforms):
            found.append(Checkup(tag, settled=tuple(failed[tag])))
        return found

    settings = pipeline.settings()
    watched = survey(instance, pipeline, memory, settings.watched_platforms, first=first)
    return in_time(_to_the_last(watched, settings.tag), looks_at)


def _to_the_last(watched: Iterable[list[Watched]], configured: str) -> Iterator[list[Watched]]:
    """Without those that come first, which is the ``configured`` tag, and were looked at before."""
    for place, platforms in enumerate(watched):
        if place and platforms[0].tag == configured:
            return
        yield platforms


def _checked(watched: Watched, failed: Collection[str]) -> Checkup:
    where = watched.partition
    if watched.problem is not None:
        return Checkup(where, problem=watched.problem.message, passing=watched.passing)
    try:
        if not watched.built_once:
            _ = watched.plan
        settled = [name for name in failed if name == UNKNOWN]
        if failed and watched.run is None:
            settled += _settled(watched, failed)
        return Checkup(where, settled=tuple(settled))
    except FimgError as error:
        return Checkup(where, problem=error.message, passing=error.transient)


def _settled(watched: Watched, failed: Iterable[str]) -> Iterator[str]:
    """What is made as planned, builds of all of it, and what is carried elsewhere, or is not to be any more."""
    unbuilt = set() if watched.built_once else {*map(asset_name, stale(watched.plan, watched.records))}
    to_build = set() if watched.built_once else {*map(asset_name, lacking(watched))}
    asked, held_up = items(watched, unbuilt)
    to_carry = {item.name for item in asked if not is_made(item, watched.records)}
    for name in failed:
        asset = name.replace(" ", "/", 1)
        of_job = JOBS.get(name.removeprefix("job "))
        if is_made_by_builds(name):
            settled = asset not in to_build
        elif is_build_of_all(name):
            settled = not to_build
        else:
            # Of what has to wait nobody can say yet whether it is to be carried.
            is_asked = asset in {item.name for item in asked}
            settled = not (to_carry & (of_job or {asset})) and (is_asked or not held_up)
        if settled:
            yield name
