"""Schedules: what is built at its time, whether something changed or not."""

from __future__ import annotations

import time

import dagster as dg

from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.liveness import close_abandoned_runs
from fimg_pipeline.automation.run_requests import look
from fimg_pipeline.automation.watching import survey, tags
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
        "which may be off; and what failed too often for that one is tried again.",
    )
    def nightly(context: dg.ScheduleEvaluationContext, pipeline: Pipeline) -> list[dg.RunRequest] | dg.SkipReason:
        close_abandoned_runs(context.instance)
        night = context.scheduled_execution_time.strftime("%Y-%m-%d")
        settings = pipeline.settings()
        for tag in tags(settings):
            add_tag(context.instance, tag)
        looks = [
            look(context.instance, each, time.time(), night=night)
            for each in survey(context.instance, pipeline, Ledger(), settings.watched_platforms)
            if each.fixed is None
        ]
        told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
        requests = [found.request for found in looks if found.request is not None]
        if not requests:
            return dg.SkipReason("\n".join(told) or "no tag follows anything")
        for line in told:
            context.log.info(line)
        return requests

    return [nightly]
