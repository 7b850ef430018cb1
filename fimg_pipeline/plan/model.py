"""The plan's types: what is put in, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.images import IMAGES, Image
from fimg_pipeline.catalog.packages import PACKAGES, Package
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.source.model import PackageSource, SourceSnapshot


@dataclass(frozen=True)
class StoredImage:
    """An image the engine has: its id (``sha256:…``), all its names, and the inputs its labels record.

    ``python`` is the version (``3.9``) a base image brings, where that is not the one its name says.
    """

    image_id: str
    references: frozenset[str]
    fingerprint: str | None = None
    platform: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None

    @property
    def own_names(self) -> frozenset[str]:
        """The names that only the pipeline gives, to what it made and found well.

        Labels alone say nothing: whatever somebody builds on an image inherits them. And what has no such name is what
        a build leaves whose pipeline was killed before it was checked.
        """
        own = (f"{LOCAL_NAMESPACE}/image/", f"{LOCAL_NAMESPACE}/package/")
        return frozenset(
            name for name in self.references if name.startswith(own) and name.endswith(f":{self.fingerprint}")
        )


@dataclass(frozen=True)
class EngineState:
    """What one engine holds, as far as planning cares: one listing, no further questions."""

    platform: Platform
    images: tuple[StoredImage, ...] = ()

    @property
    def by_reference(self) -> Mapping[str, StoredImage]:
        return MappingProxyType({name: image for image in self.images for name in image.references})

    def holders(self, fingerprint: str, platform: str) -> tuple[StoredImage, ...]:
        """What was made of a fingerprint, by its :attr:`~StoredImage.own_names`."""
        return tuple(
            image
            for image in self.images
            if image.fingerprint == fingerprint and image.platform == platform and image.own_names
        )


class Status(Enum):
    """How an image or package stands against the plan."""

    CURRENT = "current"
    REUSABLE = "reusable"
    STALE = "stale"
    MISSING = "missing"
    UNBUILDABLE = "unbuildable"


@dataclass(frozen=True)
class Planned:
    """What packages and images have in common.

    ``inputs`` is everything the fingerprint is made of, name → value; ``stage`` the local name that holds exactly this
    fingerprint; ``build_args`` what the recipe receives.
    """

    name: str
    recipe: str
    platform: Platform
    fingerprint: str
    stage: str
    build_args: Mapping[str, str]
    inputs: Mapping[str, str]
    status: Status
    reason: str

    @property
    def dockerfile(self) -> str:
        return f"fimg_pipeline/dockerfiles/{self.recipe}/Dockerfile"


@dataclass(frozen=True)
class PlannedPackage(Planned):
    """A package at one content. Its platform is the engine's own: packages hold nothing of an architecture."""

    source: PackageSource

    @property
    def package(self) -> Package:
        return PACKAGES[self.name]


@dataclass(frozen=True)
class PlannedImage(Planned):
    """An image at one fingerprint. ``reference`` is the name people know, ``aliases`` further ones, all with tag.

    ``adaptations``: in which lines of FATE's requirement files it differs from them, how and why.
    """

    reference: str
    aliases: tuple[str, ...]
    selected_by: str
    added: bool
    adaptations: tuple[str, ...] = ()

    @property
    def image(self) -> Image:
        return IMAGES[self.name]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.reference, *self.aliases)


@dataclass(frozen=True)
class Plan:
    """Everything one invocation would do. ``images`` in build order, parents first; so are ``packages``.

    ``newer_bases``: external bases of which a registry has a newer one than builds stand on.
    """

    tag: str
    base_tag: str
    platform: Platform
    prefix: str
    source: SourceSnapshot
    packages: tuple[PlannedPackage, ...]
    images: tuple[PlannedImage, ...]
    push: tuple[str, ...]
    bundle: tuple[str, ...]
    warnings: tuple[str, ...]
    newer_bases: tuple[str, ...] = ()

    def image(self, name: str) -> PlannedImage:
        return next(image for image in self.images if image.name == name)

    def package(self, name: str) -> PlannedPackage:
        return next(package for package in self.packages if package.name == name)

    @property
    def buildable(self) -> tuple[PlannedImage, ...]:
        return tuple(image for image in self.images if image.status is not Status.UNBUILDABLE)

    @property
    def outdated(self) -> tuple[Planned, ...]:
        """Packages and images that a build would have to make or name anew."""
        everything: tuple[Planned, ...] = (*self.packages, *self.images)
        return tuple(item for item in everything if item.status in (Status.STALE, Status.MISSING, Status.REUSABLE))
