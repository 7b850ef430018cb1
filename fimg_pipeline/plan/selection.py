"""Which images: what the switches or the user ask for, plus the parents they need, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES, lineage, unbuildable_reason
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError


class Verb(Enum):
    """The verbs of the build document's script."""

    PACKAGE = "package"
    BASE = "base"
    MODULES = "modules"
    ALL = "all"


class UnbuildableError(FimgError):
    """An image was asked for by name that its platform can't have."""


@dataclass(frozen=True)
class Selected:
    """One image of a selection; ``added`` when only its children asked for it."""

    name: str
    reason: str
    added: bool = False


def select(features: Collection[Feature], verb: Verb = Verb.ALL, names: Sequence[str] = ()) -> tuple[Selected, ...]:
    """The selection in build order. ``names`` (image names or aliases) take the place of the switches."""
    asked = _by_name(names) if names else _by_switches(features, verb)
    reasons = dict(asked)
    for name in asked:
        chain = lineage(name)
        for image, child in pairwise(chain):
            reasons.setdefault(image.name, f"parent of {child.name}")
    return tuple(Selected(name, reasons[name], added=name not in asked) for name in IMAGES if name in reasons)


def _by_switches(features: Collection[Feature], verb: Verb) -> dict[str, str]:
    on = frozenset(features)
    asked: dict[str, str] = {}
    for image in IMAGES.values():
        if not on.issuperset(image.selected_by):
            continue
        if (verb is Verb.BASE and not image.is_base) or (verb is Verb.MODULES and image.is_base):
            continue
        switches = " ".join(feature.variable for feature in image.selected_by)
        asked[image.name] = switches or "always"
    return asked


def _by_name(names: Sequence[str]) -> dict[str, str]:
    aliases = {alias: image.name for image in IMAGES.values() for alias in image.aliases}
    asked: dict[str, str] = {}
    for name in names:
        known = aliases.get(name, name)
        if known not in IMAGES:
            raise FimgError(f"there is no image {name!r}", hint=f"images are: {', '.join(IMAGES)}")
        asked[known] = "asked for by name"
    return asked


def require_buildable(names: Sequence[str], platform: Platform) -> None:
    """Raises :class:`UnbuildableError` where some of the images ``names`` can't be had for ``platform``."""
    reasons = {name: unbuildable_reason(name, platform) for name in _by_name(names)}
    told = [f"{name} can't be built for {platform}: {reason}" for name, reason in reasons.items() if reason is not None]
    if told:
        raise UnbuildableError("\n".join(told), hint="choose other images, or Platform=amd64")


def selection_warnings(features: Collection[Feature]) -> list[str]:
    """Combinations of switches that select less than a person would think."""
    on = set(features)
    warnings = []
    if Feature.GPU in on and Feature.NN not in on and Feature.LLM not in on:
        warnings.append("Build_GPU=1 selects nothing without Build_NN=1 or Build_LLM=1")
    if Feature.LLM in on and Feature.GPU not in on:
        warnings.append("Build_LLM=1 selects nothing without Build_GPU=1: FATE-LLM images are CUDA images")
    if not on:
        warnings.append("all switches are off: only base-image is selected")
    return warnings
