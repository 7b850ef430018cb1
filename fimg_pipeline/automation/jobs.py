"""Jobs: one per platform whose selection follows the switches, and for hand-picked selections those over everything."""

from __future__ import annotations

from typing import Final

import dagster as dg

from fimg_pipeline.assets.keys import LISTS, OVERVIEW, PUBLISHED, REGISTERED, SOURCE, bundle_key, image_key, package_key
from fimg_pipeline.assets.pipeline import TAG_PLATFORM
from fimg_pipeline.catalog.images import unbuildable_reason
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.plan.planner import needed_packages
from fimg_pipeline.plan.selection import select
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.folder import BUNDLES

#: Everything that can be built; what a run makes of it is chosen at launch.
BUILD: Final = "build"
#: What carries finished images elsewhere: as files, to the registry, and there under the tag for all platforms.
BUNDLE: Final = "bundle"
PUBLISH: Final = "publish"
PUBLISH_LISTS: Final = "publish_lists"
REGISTER: Final = "register"


def build_jobs(settings: Settings) -> list[dg.UnresolvedAssetJobDefinition]:
    """All jobs; ``settings`` only choose the default selections."""
    bundles = dg.AssetSelection.assets(*map(bundle_key, BUNDLES))
    registered = [] if settings.kuscia_app_images is None else [REGISTERED]
    everything = dg.define_asset_job(
        BUILD,
        selection=dg.AssetSelection.all() - bundles - dg.AssetSelection.assets(PUBLISHED, LISTS, OVERVIEW, *registered),
        description="All images and packages: pick assets and a partition, or use `fimg build`.",
    )
    bundle = dg.define_asset_job(
        BUNDLE,
        selection=bundles,
        description="The offline bundles of a platform and tag, of images that are up to date. As `fimg save`.",
    )
    publish = dg.define_asset_job(
        PUBLISH,
        selection=dg.AssetSelection.assets(PUBLISHED),
        description="The images of a platform and tag to the registry of PREFIX. As `fimg push`.",
    )
    lists = dg.define_asset_job(
        PUBLISH_LISTS,
        selection=dg.AssetSelection.assets(LISTS),
        description="The tag itself in the registry: a list over the platforms that were built, if all are there.",
    )
    register = [
        dg.define_asset_job(
            REGISTER,
            selection=dg.AssetSelection.assets(key),
            description="The AppImages of KUSCIA_APP_IMAGES, of images that are up to date, on their nodes.",
        )
        for key in registered
    ]
    return [
        everything,
        bundle,
        publish,
        lists,
        *register,
        *(_platform_job(settings, platform) for platform in PLATFORMS),
    ]


def _platform_job(settings: Settings, platform: Platform) -> dg.UnresolvedAssetJobDefinition:
    selection = select(settings.features)
    images = [chosen.name for chosen in selection if unbuildable_reason(chosen.name, platform) is None]
    keys = [SOURCE, *map(package_key, needed_packages(selection, platform)), *map(image_key, images)]
    switches = " ".join(sorted(f"{feature.variable}=1" for feature in settings.features)) or "no switch"
    return dg.define_asset_job(
        f"build_{platform}",
        selection=dg.AssetSelection.assets(*keys),
        tags={TAG_PLATFORM: platform},
        description=f"What the switches select ({switches}) and {platform} can have; what is up to date is reused.",
    )
