"""Asset keys: an image's key is its name; packages, which share names with images, stand below ``package``.

External base images stand below ``external``, bundles below ``bundle``, what a registry has below ``registry``, what
Kuscia has below ``kuscia``.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import dagster as dg

from fimg_pipeline.plan.model import Planned, PlannedImage

SOURCE: Final = dg.AssetKey(["source"])
#: The images of a platform and tag in their registry, and the lists over all platforms.
PUBLISHED: Final = dg.AssetKey(["registry", "images"])
LISTS: Final = dg.AssetKey(["registry", "lists"])
#: How everything watched stands.
OVERVIEW: Final = dg.AssetKey(["overview"])
#: AppImages on nodes of Kuscia.
REGISTERED: Final = dg.AssetKey(["kuscia", "app_images"])


def log_page(run_id: str, key: dg.AssetKey) -> str:
    """The web UI's page with what the step of ``key`` printed; Dagster names steps after keys, with ``_`` for ``-``."""
    step = "__".join(key.path).replace("-", "_")
    query = urlencode({"logType": "stdout", "selection": f'name:"{step}"'})
    return f"/runs/{run_id}?{query}"


def image_key(name: str) -> dg.AssetKey:
    return dg.AssetKey([name])


def package_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["package", name])


def asset_name(item: Planned) -> str:
    """The key of the asset that makes ``item``, as text."""
    return item.name if isinstance(item, PlannedImage) else f"package/{item.name}"


def planned_key(item: Planned) -> dg.AssetKey:
    """The same, as a key."""
    return dg.AssetKey(asset_name(item).split("/"))


def base_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["external", name])


def bundle_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["bundle", name])
