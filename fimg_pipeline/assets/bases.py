"""External base images, as the lineage begins: nothing here makes them, and the sensor ``bases`` observes them."""

from __future__ import annotations

from typing import Final

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import base_key
from fimg_pipeline.catalog.bases import BASES

BASE_SPECS: Final = [
    dg.AssetSpec(
        base_key(base.name),
        description=f"{base.reference}: {base.purpose}.\n\nFrom Docker Hub or `DOCKER_HUB_MIRROR`, or bootstrapped "
        "where no hub can be reached: `fimg bases`.",
        group_name=group("external"),
        kinds={"docker"},
        owners=["team:fate-release"],
    )
    for base in BASES.values()
]
