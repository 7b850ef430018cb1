"""External base images, watched: what their registries have now, and which images have to follow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from fimg_pipeline import freshness
from fimg_pipeline.assets.keys import base_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.engine.hub import DOCKER_HUB, PullFailure
from fimg_pipeline.errors import FimgError

_VERSION: Final = "dagster/data_version"
_DIGESTS: Final = TypeAdapter(dict[str, str])


@dg.sensor(
    name="bases",
    minimum_interval_seconds=3600,
    description="Asks every hour for the digests of the external base images. A new one makes the images that stand on "
    "it stale: with 'BASE_UPDATES=nightly' the next night builds them on it, with 'ask' they are only shown to be "
    "('fimg status'), until 'fimg bases --refresh'.",
)
def newer_bases(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Keeps what registries have, and records it where it changed."""
    settings = pipeline.settings()
    try:
        answers = pipeline.newest_bases(settings)
    except FimgError as error:
        return dg.SkipReason(f"no registry can be asked: {error.message}")
    digests = {reference: answer for reference, answer in answers.items() if isinstance(answer, str)}
    try:
        freshness.seen(settings.home, dict(_by_local_name(digests)))
    except FimgError as error:
        return dg.SkipReason(f"what registries have can't be kept: {error.message}")
    known = _known(context.cursor)
    new = {reference: digest for reference, digest in digests.items() if known.get(reference) != digest}
    told = [f"{reference} is {digest}" for reference, digest in digests.items()]
    told += [
        f"{reference}: {answer.of(settings.docker_hub_mirror or DOCKER_HUB)}"
        for reference, answer in answers.items()
        if isinstance(answer, PullFailure)
    ]
    return dg.SensorResult(
        skip_reason="\n".join(told),
        cursor=json.dumps({**known, **digests}),
        asset_events=[
            dg.AssetObservation(
                base_key(base.name),
                metadata={"digest": new[base.reference], "registry": settings.docker_hub_mirror or DOCKER_HUB},
                tags={_VERSION: new[base.reference]},
            )
            for base in BASES.values()
            if base.reference in new
        ],
    )


def _known(cursor: str | None) -> dict[str, str]:
    """What was recorded; nothing where that is not known any more: then it is once more."""
    try:
        return _DIGESTS.validate_json(cursor or "{}")
    except ValidationError:
        return {}


def _by_local_name(digests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A list's digest stands for the image of each platform."""
    for base in BASES.values():
        if base.reference in digests:
            for platform in PLATFORMS:
                yield base.local_reference(platform), digests[base.reference]
