"""Schedules: what is done at its time, whether something changed or not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import dagster as dg

from fimg_pipeline import freshness
from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.claims import claimed
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.automation.run_requests import look
from fimg_pipeline.automation.watching import Memory, Watched, in_time, survey, tags, ticked, unfinished
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.refs import follows
from fimg_pipeline.source.tags import ref_of

#: So long (seconds) a schedule looks at tags; Dagster waits a minute for it.
_LOOKING: Final = 30.0


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """All schedules, at the times of ``settings``."""
    hour, minute = settings.nightly_at

    @dg.schedule(
        name="nightly",
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone=settings.time_zone,
        job_name=BUILD,
        description="Builds what is stale of the tags that follow something, every night.\n\nAs the sensor 'commits', "
        "which may be off; on newer base images, unless 'BASE_UPDATES=ask'; and what failed too often for that one is "
        "tried again.",
    )
    def nightly(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        return ticked(lambda: built(context, pipeline))

    def built(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        now = pipeline.settings()
        close_abandoned_runs(context.instance)
        # What runs stand on is not changed below them: another night takes it.
        if not unfinished(context.instance):
            freshness.refresh_due(now.home)
            if now.base_updates == "nightly":
                freshness.accept(now.home)
        followed = (of_tag for of_tag in _watched(context, pipeline) if of_tag[0].fixed is None)
        return _asked("nightly", context, followed, now.home)

    @dg.schedule(
        name="refresh",
        cron_schedule=_weekly(settings.refresh_at),
        execution_timezone=settings.time_zone,
        job_name=BUILD,
        description="Builds the tags that follow something without a cache every week, on newly pulled or made base "
        "images: so that security updates get in.\n\nReleases stay as they were built. What fails of it is built by "
        "'commits' or 'nightly'.",
    )
    def refresh(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        # Where nothing can be looked at this fails, so that it is seen: the next one is a week later.
        home = pipeline.settings().home
        # Also where somebody looks ahead at what it will do.
        since = freshness.moment(min(context.scheduled_execution_time, datetime.now(timezone.utc)))
        found = [of_tag for of_tag in _watched(context, pipeline) if of_tag[0].fixed is None]
        followed = [of_tag for of_tag in found if of_tag[0].problem is None]
        # What can't be looked at now is refreshed later, unless it may be a release.
        away = [of_tag[0].tag for of_tag in found if of_tag[0].problem is not None]
        unknown = {tag: since for tag in away if follows(ref_of(home, tag))}
        wanted = {of_tag[0].tag: since for of_tag in followed}
        # Nor is what runs stand on changed below them: all tags share their base images.
        if unfinished(context.instance):
            freshness.refresh_later(home, {**wanted, **unknown})
            return dg.SkipReason(
                "runs are under way: these are refreshed once there are none, by `commits` or `nightly`"
            )
        if unknown:
            freshness.refresh_later(home, unknown)
        freshness.refresh(home, wanted)
        return _asked("refresh", context, followed, home)

    @dg.schedule(
        name="prune",
        cron_schedule=_weekly(settings.prune_at),
        execution_timezone=settings.time_zone,
        job_name=PRUNE,
        description="Removes what is superseded every week: 'fimg prune' lists what would go.\n\n"
        "While anything is being built or carried elsewhere, images stay until the next time.",
    )
    def prune() -> dg.RunRequest:
        return dg.RunRequest()

    return [nightly, refresh, prune]


def _watched(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> Iterator[list[Watched]]:
    """What is watched, a tag at a time, each night beginning with another."""
    close_abandoned_runs(context.instance)
    settings = pipeline.settings()
    names = tags(settings)
    for tag in names:
        add_tag(context.instance, tag)
    first = names[context.scheduled_execution_time.toordinal() % len(names)]
    yield from survey(context.instance, pipeline, Memory(), settings.watched_platforms, first=first)


def _asked(
    schedule: str, context: dg.ScheduleEvaluationContext, watched: Iterable[list[Watched]], home: Path
) -> list[dg.RunRequest] | dg.SkipReason:
    """The runs that are needed, of which a schedule asks for each once."""
    night, now = context.scheduled_execution_time.strftime("%Y-%m-%d"), time.time()
    looks, left = in_time(
        watched,
        lambda platforms: [look(context.instance, each, now, night=night) for each in platforms],
        _LOOKING,
    )
    told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
    if left:
        told.append(f"there was no time for {left} and those after it: another night begins with others")
    asked = [each.request for each in looks if each.request is not None]
    # Two schedules may be due in the same moment.
    by = f"{schedule} {context.scheduled_execution_time}"
    requests = claimed(context.instance, home, by, asked, time.time())
    if not requests:
        return dg.SkipReason("\n".join(told) or "no tag follows anything")
    for line in told:
        context.log.info(line)
    return requests


def _weekly(at: tuple[int, int, int]) -> str:
    day, hour, minute = at
    return f"{minute} {hour} * * {day}"
