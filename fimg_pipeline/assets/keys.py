"""Asset keys: an image's key is its name; packages, which share names with images, stand below ``package``."""

from __future__ import annotations

from typing import Final

import dagster as dg

SOURCE: Final = dg.AssetKey(["source"])


def image_key(name: str) -> dg.AssetKey:
    return dg.AssetKey([name])


def package_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["package", name])
