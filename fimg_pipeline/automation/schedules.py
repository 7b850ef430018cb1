"""Schedules: what is done at its time, whether something changed or not."""

from __future__ import annotations

import time

import dagster as dg

from fimg_pipeline import freshness
from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.liveness import close_abandoned_runs
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.automation.run_requests import look
from fimg_pipeline.automation.watching import Memory, Watched, survey, tags
from fimg_pipeline.settings import Settings


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """All schedules, at the times of ``settings``."""
    hour, minute = settings.nightly_at

    @dg.schedule(
        name="nightly",
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone=settings.time_zone,
        job_name=BUILD,
        description="Builds what is stale of the tags that follow something, every night.\n\nAs the sensor `commits`, "
        "which may be off; on newer base images, unless `BASE_UPDATES=ask`; and what failed too often for that one is "
        "tried again.",
    )
    def nightly(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        now = pipeline.settings()
        if now.base_updates == "nightly":
            freshness.accept(now.home)
        return _asked(context, _followed(context, pipeline))

    @dg.schedule(
        name="refresh",
        cron_schedule=_weekly(settings.refresh_at),
        execution_timezone=settings.time_zone,
        job_name=BUILD,
        description="Builds the tags that follow something without a cache every week, on newly pulled or made base "
        "images: so that security updates get in.\n\nReleases stay as they were built. What fails of it is built by "
        "`commits` or `nightly`.",
    )
    def refresh(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        watched = _followed(context, pipeline)
        since = freshness.moment(context.scheduled_execution_time)
        freshness.refresh(pipeline.settings().home, {each.tag: since for each in watched})
        return _asked(context, watched)

    @dg.schedule(
        name="prune",
        cron_schedule=_weekly(settings.prune_at),
        execution_timezone=settings.time_zone,
        job_name=PRUNE,
        description="Removes what is superseded every week: `fimg prune` lists what would go.\n\n"
        "While anything is being built or carried elsewhere, images stay until the next time.",
    )
    def prune() -> dg.RunRequest:
        return dg.RunRequest()

    return [nightly, refresh, prune]


def _weekly(at: tuple[int, int, int]) -> str:
    day, hour, minute = at
    return f"{minute} {hour} * * {day}"


def _followed(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[Watched]:
    """What is watched and not built once only."""
    close_abandoned_runs(context.instance)
    settings = pipeline.settings()
    for tag in tags(settings):
        add_tag(context.instance, tag)
    watched = survey(context.instance, pipeline, Memory(), settings.watched_platforms)
    return [each for platforms in watched for each in platforms if each.fixed is None]


def _asked(context: dg.ScheduleEvaluationContext, watched: list[Watched]) -> list[dg.RunRequest] | dg.SkipReason:
    """The runs that what is watched needs, of which a schedule asks for each once."""
    night = context.scheduled_execution_time.strftime("%Y-%m-%d")
    looks = [look(context.instance, each, time.time(), night=night) for each in watched]
    told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
    requests = [found.request for found in looks if found.request is not None]
    if not requests:
        return dg.SkipReason("\n".join(told) or "no tag follows anything")
    for line in told:
        context.log.info(line)
    return requests
