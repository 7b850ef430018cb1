"""The code location: assembles ``Definitions`` and nothing else. Reads settings; no network, no git, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from fimg_pipeline.assets.bases import BASE_SPECS
from fimg_pipeline.assets.bundles import BUNDLE_ASSETS
from fimg_pipeline.assets.images import IMAGE_ASSETS
from fimg_pipeline.assets.packages import PACKAGE_ASSETS
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.publishing import PUBLISHING_ASSETS
from fimg_pipeline.assets.registration import registration_assets
from fimg_pipeline.assets.source import source
from fimg_pipeline.automation.executor import executor, processes
from fimg_pipeline.automation.jobs import BUILD, BUNDLE, PUBLISH, PUBLISH_LISTS, build_jobs
from fimg_pipeline.automation.overview import overview
from fimg_pipeline.automation.prune_job import prune_job
from fimg_pipeline.automation.schedules import schedules
from fimg_pipeline.automation.sensors import sensors
from fimg_pipeline.settings import Settings, load


def build_defs(
    settings: Settings | None = None,
    *,
    resources: Mapping[str, Any] | None = None,
    steps_by: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """Fresh definitions; ``resources`` replace the real ones, for tests.

    ``steps_by``: the executor, in the place of that of the settings (docs/deployment.md has one for other machines).
    """
    settings = settings or load()
    registration = registration_assets(settings)
    jobs = build_jobs(settings)
    return dg.Definitions(
        assets=[
            overview,
            source,
            *BASE_SPECS,
            *PACKAGE_ASSETS,
            *IMAGE_ASSETS,
            *BUNDLE_ASSETS,
            *PUBLISHING_ASSETS,
            *registration.assets,
        ],
        asset_checks=registration.checks,
        jobs=[*jobs, prune_job],
        sensors=sensors(jobs),
        schedules=schedules(settings),
        resources={"pipeline": Pipeline(), **(resources or {})},
        executor=steps_by or executor(settings),
    )


def build_job() -> dg.JobDefinition:
    """The job over everything, as ``dg.reconstructable`` needs it: a module-level function without arguments."""
    return _job(BUILD)


def bundle_job() -> dg.JobDefinition:
    """The job that writes bundles, likewise."""
    return _job(BUNDLE)


def publish_job() -> dg.JobDefinition:
    """The job that pushes images, likewise."""
    return _job(PUBLISH)


def publish_lists_job() -> dg.JobDefinition:
    """The job that writes manifest lists, likewise."""
    return _job(PUBLISH_LISTS)


@cache
def _job(name: str) -> dg.JobDefinition:
    """Made once: every step asks for it several times, and the server that steps are forked from has it ready."""
    return build_defs(steps_by=processes()).resolve_job_def(name)


defs = build_defs()
