"""Sensors: what is built by itself when something changes."""

from __future__ import annotations

import time
from typing import Final

import dagster as dg

from fimg_pipeline.assets.partitions import TAGS, known_tags
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.jobs import BUILD
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.liveness import close_abandoned_runs
from fimg_pipeline.automation.watching import look, watched

#: What has been read of the instance stays with the process: another one reads it again.
_LEDGER: Final = Ledger()


@dg.sensor(
    name="commits",
    job_name=BUILD,
    minimum_interval_seconds=60,
    description="Builds what is stale of the tags that are watched: the configured one and those of `fimg tag add`.\n\n"
    "It compares what source and recipes ask for with what is on record, so that nothing is lost when a tick or a run "
    "is. A tag that follows a branch is kept up to date; a release is built once. What fails is tried three times.",
)
def commits(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Asks for what is stale and says of every tag what it found."""
    instance = context.instance
    close_abandoned_runs(instance)
    settings = pipeline.settings()
    known = known_tags(instance)
    new = [tag for tag in watched(settings) if tag not in known]
    looks = list(look(instance, pipeline, _LEDGER, settings.watched_platforms, time.time()))
    told = [f"{found.tag} for {found.platform}: {found.told}" for found in looks]
    requests = [found.request for found in looks if found.request is not None]
    if not requests and not new:
        return dg.SkipReason("\n".join(told))
    for line in told:
        context.log.info(line)
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=[TAGS.build_add_request(new)] if new else []
    )


SENSORS: Final = [commits]
