"""All sensors, in the order in which things happen."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from fimg_pipeline.automation.bases import newer_bases
from fimg_pipeline.automation.commits import commits
from fimg_pipeline.automation.deliveries import delivery_sensor
from fimg_pipeline.automation.notifications import notifications
from fimg_pipeline.automation.releases import new_releases


def sensors(jobs: Sequence[dg.UnresolvedAssetJobDefinition]) -> list[dg.SensorDefinition]:
    """The sensors, for the jobs there are."""
    return [new_releases, newer_bases, commits, delivery_sensor(jobs), notifications]
