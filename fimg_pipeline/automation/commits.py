"""The sensor that builds what is stale, whatever made it so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import dagster as dg

from fimg_pipeline import freshness
from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.claims import claimed
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.overview import if_changed
from fimg_pipeline.automation.run_requests import Look, look
from fimg_pipeline.automation.status import PartitionStatus, status
from fimg_pipeline.automation.watching import Memory, Watched, in_time, said, survey, tags, ticked, unfinished
from fimg_pipeline.settings import Settings

#: What has been read of the instance stays with the process: another one reads it again.
_MEMORY: Final = Memory()
#: How everything stood when it was last looked at, by tag and platform.
_STATUSES: Final[dict[tuple[str, str], PartitionStatus]] = {}


@dg.sensor(
    name="commits",
    job_name=BUILD,
    minimum_interval_seconds=60,
    description="Builds what is stale of the tags that are watched: the configured one and those of 'fimg tag add'.\n\n"
    "It compares what source and recipes ask for with what is on record, so that nothing is lost when a tick or a run "
    "is. A tag that follows a branch is kept up to date; a release is built once. What fails is tried six times.",
)
def commits(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Asks for what is stale and says of every tag what it found."""
    return ticked(lambda: _looked(context, pipeline))


def _looked(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult:
    instance = context.instance
    close_abandoned_runs(instance)
    settings = pipeline.settings()
    for tag in tags(settings):
        add_tag(instance, tag)
    now = time.time()
    if not unfinished(instance):
        # What a week's refresh left for after the runs that were under way.
        freshness.refresh_due(settings.home)
    watched = survey(instance, pipeline, _MEMORY, settings.watched_platforms, first=context.cursor or "")

    def looks_at(platforms: Sequence[Watched]) -> list[Look]:
        found = [look(instance, each, now) for each in platforms]
        _STATUSES.update({(each.tag, each.platform): status(instance, each) for each in platforms})
        return found

    looks, left = in_time(watched, looks_at)
    told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
    asked = [each.request for each in looks if each.request is not None]
    requests = claimed(instance, settings.home, "commits", asked, time.time())
    if requests:
        for line in told:
            context.log.info(line)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else said(told, left),
        asset_events=_overview(instance, settings),
        cursor=left,
    )


def _overview(instance: dg.DagsterInstance, settings: Settings) -> list[dg.AssetMaterialization]:
    """How all stands, once all was looked at, if that is not what was written last."""
    wanted = [(tag, platform) for tag in tags(settings) for platform in settings.watched_platforms]
    if not all(each in _STATUSES for each in wanted):
        return []
    return if_changed(instance, [_STATUSES[each] for each in wanted])
