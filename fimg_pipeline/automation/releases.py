"""The sensor that adds new releases of FATE to the tags."""

from __future__ import annotations

from typing import Final

import dagster as dg
from packaging.version import Version

from fimg_pipeline.assets.partitions import TAGS, known_tags
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.watching import Reader
from fimg_pipeline.errors import FimgError
from fimg_pipeline.source import releases
from fimg_pipeline.source.tags import record, recorded, release_tag

#: So many that are left out are named, the latest.
_TOLD: Final = 5
_READER: Final = Reader()


@dg.sensor(
    name="releases",
    minimum_interval_seconds=120,
    description="Adds the tag 'X.Y.Z-release' when FATE gets a tag 'vX.Y.Z' that 'RELEASES' takes in; the sensor "
    "'commits' builds it.\n\nThose that are there when it first looks are not new: 'fimg tag add 1.11.2-release'.",
)
def new_releases(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Adds those that are not known yet, and remembers them, whatever becomes of the tick."""
    settings = pipeline.settings()
    try:
        there, fate = _READER.read(
            settings.fate_dir, lambda: (pipeline.releases(settings), pipeline.fate_identity(settings))
        )
        known = releases.known(settings.home, fate)
    except FimgError as error:
        return dg.SkipReason(f"FATE's releases can't be looked at: {error.message}")
    if there.away and known is None:
        return dg.SkipReason(f"FATE's releases can't be looked at: {there.away}")
    found = there.tags
    if known is None:
        releases.keep(settings.home, fate, found)
        return dg.SkipReason(f"{len(found)} releases are there already; those that come are added from now on")
    new = sorted(set(found) - known, key=Version)
    wanted = [version for version in new if version in settings.releases]
    for version in wanted:
        # What a person said it stands for it does.
        if release_tag(version) not in recorded(settings.home):
            record(settings.home, release_tag(version), found[version])
    releases.keep(settings.home, fate, wanted)
    # They are not known yet: RELEASES may come to take them in.
    others = [version for version in new if version not in wanted]
    told = [*others[-_TOLD:], *([f"{len(others) - _TOLD} earlier ones"] if len(others) > _TOLD else [])]
    left = f"; RELEASES ({settings.releases}) leaves out {', '.join(told)}" if others else ""
    left += f"; of FATE_DIR alone: {there.away}" if there.away else ""
    if not wanted:
        return dg.SkipReason(f"no new release{left}")
    added = [release_tag(version) for version in wanted]
    partitions = known_tags(context.instance)
    return dg.SensorResult(
        skip_reason=f"new: {', '.join(added)}{left}",
        dynamic_partitions_requests=[TAGS.build_add_request([tag for tag in added if tag not in partitions])],
    )
