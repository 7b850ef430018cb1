"""What people are told of when it fails: what sensors and schedules ask for by themselves, as things are set now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fimg_pipeline.automation.broken import Broken, Finished
from fimg_pipeline.automation.jobs import BUNDLE, PUBLISH, REGISTER
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.plan.selection import select
from fimg_pipeline.settings import Settings

#: In the place of a partition, of the runs that have none. No tag is called so.
PRUNING: Final = f"job {PRUNE}"
#: The same, of the list of the tags that are watched.
WATCHED: Final = "the list of tags"
#: What comes of each step after a build, as failures are called.
_CARRIED: Final = {
    "push": ("registry ", f"job {PUBLISH}"),
    "bundle": ("bundle ", f"job {BUNDLE}"),
    "register": ("kuscia ", f"job {REGISTER}"),
}
#: The same of packages, and of what fails before any image does.
_PACKAGE: Final = "package "
_BUILD_OF_ALL: Final = ("source ", "job build", "job __ASSET_JOB")


def is_build_of_all(name: str) -> bool:
    """Whether what failed is a run that builds, or the source of one, and no image or package."""
    return name.startswith(_BUILD_OF_ALL)


def is_made_by_builds(name: str) -> bool:
    """Whether what failed is an image or a package."""
    return name in IMAGES or name.startswith(_PACKAGE)


@dataclass(frozen=True)
class Asked:
    """By ``settings``, of the ``tags`` that are watched."""

    settings: Settings
    tags: frozenset[str]

    def watches(self, partition: str) -> bool:
        """Whether it is of a tag that is watched, for a platform that is, or for all; or what no tag is."""
        if partition in (PRUNING, WATCHED):
            return True
        platform, _, tag = partition.rpartition("|")
        return tag in self.tags and platform in ("", *self.settings.watched_platforms)

    def still(self, broken: Mapping[str, Broken]) -> dict[str, Broken]:
        """What is broken, without what nobody asks for by itself any more."""
        found: dict[str, Broken] = {}
        for partition, each in broken.items():
            if failed := self._of(partition, each.failed):
                found[partition] = each.model_copy(update={"failed": failed})
        return found

    def counted(self, run: Finished) -> Finished:
        """A run with those of its failures that people are told of; without any it went well, as far as they care.

        Whoever pushes by hand sees how that ends.
        """
        told = self._of(run.partition, run.failed or {f"job {run.job}": ""})
        failed = {name: why for name, why in told.items() if name in run.failed}
        return replace(run, failed=failed, succeeded=run.succeeded or not told)

    def _of(self, partition: str, failed: Mapping[str, str]) -> dict[str, str]:
        """Of what failed in a partition what the sensors and schedules ask for."""
        if not self.watches(partition):
            return {}
        images = {each.name for each in select(self.settings.features)}
        packages = {f"{_PACKAGE}{name}" for each in images for name in IMAGES[each].recipe.packages}
        carried = {kind for step, kinds in _CARRIED.items() if step in self.settings.deliveries for kind in kinds}
        others = {kind for kinds in _CARRIED.values() for kind in kinds} - carried
        return {
            name: why
            for name, why in failed.items()
            if not name.startswith(tuple(others))
            and (name not in IMAGES or name in images)
            and (not name.startswith(_PACKAGE) or name in packages)
        }
