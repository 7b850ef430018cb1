"""From a plan to what is carried elsewhere: which images, under which names, made of what; all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.plan.model import Plan, PlannedImage, Status
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.lock import Lock, LockedImage, Source

#: The label of an image that says the commit it is built from.
REVISION: Final = "org.opencontainers.image.revision"


def require_current(plan: Plan, passed: Callable[[PlannedImage], bool]) -> None:
    """:class:`ShipError` when what would be carried elsewhere is not what a build would give.

    ``passed``: an image that is there without its name (an engine has one of each, and it may be another platform's by
    now) is as it should be if it passed its checks.
    """
    _require_current(plan, plan.bundle, passed)
    if not plan.bundle:
        raise ShipError("the switches select no image that is published", hint="`fimg plan` says what they select")


def _require_current(plan: Plan, names: Collection[str], passed: Callable[[PlannedImage], bool]) -> None:
    outdated = [
        image
        for image in map(plan.image, names)
        if image.status is not Status.CURRENT and not (image.status is Status.REUSABLE and passed(image))
    ]
    if outdated:
        why: dict[str, list[str]] = {}
        for image in outdated:
            why.setdefault(image.reason, []).append(image.name)
        raise ShipError(
            f"{len(outdated)} of {len(names)} images are not up to date for {plan.platform}, tag {plan.tag}: "
            + "; ".join(f"{', '.join(images)} ({reason})" for reason, images in why.items()),
            hint="build them first: `fimg build`",
        )


def fate_images(plan: Plan, engine: Engine, passed: Callable[[PlannedImage], bool]) -> list[LockedImage]:
    """The published images the switches select, in build order; see :func:`require_current`."""
    require_current(plan, passed)
    return current_images(plan, plan.bundle, engine, passed)


def current_images(
    plan: Plan, names: Collection[str], engine: Engine, passed: Callable[[PlannedImage], bool]
) -> list[LockedImage]:
    """The images ``names`` of a plan, up to date and on the engine; :class:`ShipError` when one is not."""
    _require_current(plan, names, passed)
    found: list[LockedImage] = []
    for planned in map(plan.image, names):
        record = engine.inspect(planned.stage)
        if record is None:
            raise ShipError(f"{planned.stage} is gone from the engine", hint="build it again: `fimg build`")
        found.append(
            LockedImage(
                reference=planned.reference,
                id=record["Id"],
                layers=(),
                fingerprint=planned.fingerprint,
                commit=record["Config"]["Labels"].get(REVISION),
            )
        )
    return found


def sources(plan: Plan) -> dict[str, Source]:
    """What the images of a plan are built from, as a lock has it."""
    return {
        name: Source(ref=repository.ref, commit=repository.commit, dirty=repository.dirty)
        for name, repository in plan.source.repositories.items()
    }


def left_out(plan: Plan) -> dict[str, str]:
    """The published images that the plan's platform can't have, with the reason."""
    return {
        image.name: image.reason
        for image in plan.images
        if image.status is Status.UNBUILDABLE and image.image.published
    }


def header(plan: Plan, base: Lock | None) -> Lock:
    """The lock of a folder for ``plan``, before there is a bundle in it."""
    if base is None:
        return Lock(tag=plan.tag, platform=plan.platform, bundles={})
    return Lock(tag=plan.tag, platform=plan.platform, since=base.tag, base=locks.identity(base), bundles={})


def folder_name(lock: Lock) -> str:
    """What the folder of a lock is called."""
    return f"{lock.tag}-{lock.platform}" + (f"-since-{lock.since}-{lock.base}" if lock.since else "")


def read_base(path: Path, platform: Platform) -> Lock:
    """The lock of what the target has; its layers may themselves have come in several steps."""
    base = locks.read(path)
    if base.platform != platform:
        raise ShipError(f"{path} is of images for {base.platform}, and the bundle is for {platform}")
    return base
