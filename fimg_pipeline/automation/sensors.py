"""Sensors: what is built by itself when something changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import dagster as dg
from packaging.version import Version

from fimg_pipeline.assets.keys import OVERVIEW
from fimg_pipeline.assets.partitions import TAGS, known_tags
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation.bases import newer_bases
from fimg_pipeline.automation.deliveries import DELIVERING, deliveries
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.liveness import close_abandoned_runs
from fimg_pipeline.automation.notifications import notifications
from fimg_pipeline.automation.overview import identity, metadata, written
from fimg_pipeline.automation.run_requests import Look, look
from fimg_pipeline.automation.status import PartitionStatus, status
from fimg_pipeline.automation.watching import Memory, Watched, survey, tags, unfinished
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.tags import record, release_tag

#: What has been read of the instance stays with the process: another one reads it again.
_WATCHED: Final = Memory()
_DELIVERED: Final = Memory()
#: How everything stood when it was last looked at, by tag and platform.
_STATUSES: Final[dict[tuple[str, str], PartitionStatus]] = {}
#: So long (seconds) tags are looked at in a tick; the next one goes on with the rest.
_LOOKING: Final = 5.0

T = TypeVar("T")


@dg.sensor(
    name="commits",
    job_name=BUILD,
    minimum_interval_seconds=60,
    description="Builds what is stale of the tags that are watched: the configured one and those of `fimg tag add`.\n\n"
    "It compares what source and recipes ask for with what is on record, so that nothing is lost when a tick or a run "
    "is. A tag that follows a branch is kept up to date; a release is built once. What fails is tried three times.",
)
def commits(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult:
    """Asks for what is stale and says of every tag what it found."""
    instance = context.instance
    close_abandoned_runs(instance)
    settings = pipeline.settings()
    known = known_tags(instance)
    new = [tag for tag in tags(settings) if tag not in known]
    now = time.time()
    watched = survey(instance, pipeline, _WATCHED, settings.watched_platforms, first=context.cursor or "")

    def looks_at(platforms: Sequence[Watched]) -> list[Look]:
        found = [look(instance, each, now) for each in platforms]
        _STATUSES.update({(each.tag, each.platform): status(instance, each) for each in platforms})
        return found

    looks, left = _in_time(watched, looks_at)
    told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
    requests = [found.request for found in looks if found.request is not None]
    if requests:
        for line in told:
            context.log.info(line)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "\n".join([*told, *([f"goes on with {left}"] if left else [])]),
        dynamic_partitions_requests=[TAGS.build_add_request(new)] if new else [],
        asset_events=_overview(instance, settings),
        cursor=left,
    )


def _in_time(watched: Iterable[list[Watched]], looks_at: Callable[[list[Watched]], list[T]]) -> tuple[list[T], str]:
    """What looking at tags came to, at one at least, and the tag to go on with if there was no time for all."""
    started = time.monotonic()
    found: list[T] = []
    for platforms in watched:
        if found and time.monotonic() - started > _LOOKING:
            return found, platforms[0].tag
        found += looks_at(platforms)
    return found, ""


def _overview(instance: dg.DagsterInstance, settings: Settings) -> list[dg.AssetMaterialization]:
    """How all stands, once all was looked at, if that is not what was written last."""
    wanted = [(tag, platform) for tag in tags(settings) for platform in settings.watched_platforms]
    if not all(each in _STATUSES for each in wanted):
        return []
    found = [_STATUSES[each] for each in wanted]
    now = identity(found)
    if written(instance) == now:
        return []
    return [dg.AssetMaterialization(OVERVIEW, metadata=metadata(found), tags={FINGERPRINT: now})]


@dg.sensor(
    name="releases",
    minimum_interval_seconds=120,
    description="Adds the tag `X.Y.Z-release` when FATE gets a tag `vX.Y.Z` that `RELEASES` takes in; the sensor "
    "`commits` builds it.\n\nThose that are there when it first looks are not new: `fimg tag add 1.11.2-release`.",
)
def new_releases(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Adds the releases that were not there the last time, and remembers those that are."""
    settings = pipeline.settings()
    try:
        found = pipeline.releases(settings)
    except FimgError as error:
        return dg.SkipReason(f"FATE's releases can't be looked at: {error.message}")
    seen = None if context.cursor is None else json.loads(context.cursor)
    cursor = json.dumps(sorted({*found, *(seen or ())}, key=Version))
    if seen is None:
        return dg.SensorResult(
            skip_reason=f"{len(found)} releases are there already; those that come are added from now on", cursor=cursor
        )
    new = [version for version in found if version not in seen]
    added = [release_tag(version) for version in new if version in settings.releases]
    for version in new:
        if version in settings.releases:
            record(settings.home, release_tag(version), found[version])
    if not added:
        left = f"; RELEASES={settings.releases} leaves out {', '.join(new)}" if new else ""
        return dg.SensorResult(skip_reason=f"no new release{left}", cursor=cursor)
    context.log.info(f"new: {', '.join(added)}")
    known = known_tags(context.instance)
    requests = [TAGS.build_add_request([tag for tag in added if tag not in known])]
    return dg.SensorResult(dynamic_partitions_requests=requests, cursor=cursor)


def sensors(jobs: Sequence[dg.UnresolvedAssetJobDefinition]) -> list[dg.SensorDefinition]:
    """All sensors, for the jobs there are."""

    @dg.sensor(
        name="deliveries",
        jobs=[job for job in jobs if job.name in DELIVERING],
        minimum_interval_seconds=60,
        description="Carries elsewhere what was built, as `AFTER_BUILD` says: pushes it, and the tag's lists once "
        "every platform is pushed; "
        "writes bundles; registers AppImages.\n\nOnly when all of a platform's tag is built and "
        "passed its checks. What fails is tried three times; what does not need it goes on.",
    )
    def carry(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        now = pipeline.settings()
        if not now.deliveries:
            return dg.SkipReason("AFTER_BUILD is not set: nothing is carried elsewhere")
        close_abandoned_runs(context.instance)
        busy, at = unfinished(context.instance), time.time()
        watched = survey(context.instance, pipeline, _DELIVERED, now.watched_platforms, first=context.cursor or "")
        found, left = _in_time(
            watched, lambda platforms: deliveries(context.instance, platforms, _DELIVERED.ledger, busy, at)
        )
        requests = [asked for each in found for asked in each.requests]
        told = [each.told for each in found]
        if requests:
            for line in told:
                context.log.info(line)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "\n".join([*told, *([f"goes on with {left}"] if left else [])]),
            cursor=left,
        )

    return [commits, new_releases, newer_bases, carry, notifications]
