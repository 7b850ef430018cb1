"""The sensor that adds new releases of FATE to the tags."""

from __future__ import annotations

import json

import dagster as dg
from packaging.version import Version

from fimg_pipeline.assets.partitions import TAGS, known_tags
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.errors import FimgError
from fimg_pipeline.source.tags import record, release_tag


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
