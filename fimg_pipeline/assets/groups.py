"""The groups that assets are in, in the order in which a person meets them."""

from __future__ import annotations

from typing import Final

_ORDER: Final = (
    "overview",
    "source",
    "external",
    "packages",
    "base",
    "eggroll",
    "spark",
    "nn",
    "gpu",
    "llm",
    "ipcl",
    "tools",
    "registry",
    "bundles",
    "kuscia",
)


def group(name: str) -> str:
    """A group's name in Dagster, numbered: its pages list groups by the alphabet. ``ValueError``: there is none."""
    return f"{_ORDER.index(name):02d}_{name}"
