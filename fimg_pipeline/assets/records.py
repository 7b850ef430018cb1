"""What the instance has on record: the last materialization of an asset for a partition."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from fimg_pipeline.assets.keys import planned_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.plan.fingerprint import fingerprint
from fimg_pipeline.plan.model import Planned, PlannedImage

#: Tag of materializations: what was made of what.
FINGERPRINT = "fimg/fingerprint"
#: Tag of materializations: FATE's commit.
COMMIT = "fimg/commit"
#: Tag of packages' materializations: the commit of the repository it comes from.
ORIGIN = "fimg/origin"
#: Metadata of images' materializations: the id the engine calls it by.
IMAGE_ID = "digest (image id)"


def latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, platform: str, tag: str, *, before: float | None = None
) -> dg.AssetMaterialization | None:
    """The last materialization of an asset for a platform's tag, or the last ``before`` (seconds since 1970)."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition_key(platform, tag)], before_timestamp=before),
        limit=1,
    ).records
    return found[0].asset_materialization if found else None


def recorded(instance: dg.DagsterInstance, key: dg.AssetKey, platform: str, tag: str) -> str | None:
    """The fingerprint an asset was last materialized with."""
    found = latest(instance, key, platform, tag)
    return None if found is None else (found.tags or {}).get(FINGERPRINT)


def is_recorded(instance: dg.DagsterInstance, planned: Planned, platform: str, tag: str) -> bool:
    """Whether it was made for a platform's tag as planned, and named so."""
    found = _as_planned(instance, planned, platform, tag)
    return found is not None and (not isinstance(planned, PlannedImage) or reference_of(found) == planned.reference)


def passed(instance: dg.DagsterInstance, planned: PlannedImage, tag: str) -> bool:
    """Whether the image was made under ``tag`` and passed its checks: only then it got a name, whichever."""
    found = _as_planned(instance, planned, planned.platform, tag)
    return found is not None and reference_of(found) != ""


def reference_of(made: dg.AssetMaterialization) -> str:
    """What an image was named; empty for what did not pass its checks, and for what is no image."""
    value = made.metadata.get("reference")
    return value.text or "" if isinstance(value, dg.TextMetadataValue) else ""


def _as_planned(
    instance: dg.DagsterInstance, planned: Planned, platform: str, tag: str
) -> dg.AssetMaterialization | None:
    found = latest(instance, planned_key(planned), platform, tag)
    return found if found is not None and (found.tags or {}).get(FINGERPRINT) == planned.fingerprint else None


def delivered(images: Mapping[str, str], **how: str) -> str:
    """The fingerprint of what is carried elsewhere: ``images`` (name → fingerprint), and ``how`` it is done.

    Assets that carry something record it; what is on record under another one is not what there is now.
    """
    return fingerprint({**{f"image {name}": value for name, value in images.items()}, **how})
