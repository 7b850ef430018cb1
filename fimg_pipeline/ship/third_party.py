"""Images a deployment needs that are not ours: found on the engine, or pulled by the digest a registry has them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.hub import PullFailure, is_of_docker_hub, mirrored, pull, registry_of
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.lock import LockedImage


class ThirdPartyError(FimgError):
    """An image of others can't be had."""


class ThirdPartyUnreachableError(ThirdPartyError, TransientError):
    """The registry of an image does not answer."""


def third_party(
    settings: Settings, engine: Engine, platform: Platform, log: Callable[[str], None]
) -> list[LockedImage]:
    """What ``THIRD_PARTY_IMAGES`` names, for ``platform``, on the engine."""
    return [_ensured(reference, settings, engine, platform, log) for reference in settings.third_party_images]


def _ensured(
    reference: str, settings: Settings, engine: Engine, platform: Platform, log: Callable[[str], None]
) -> LockedImage:
    name, _, pinned = reference.partition("@")
    ours = _our_name(name, platform)
    for place in (name, ours):
        there = engine.inspect(place)
        if there is None or f"{there['Os']}/{there['Architecture']}" != docker_platform(platform):
            continue
        digest = _digest(there, name, pinned)
        if not pinned or digest == pinned:
            log(f"{name} is on the engine")
            return LockedImage(reference=name, id=there["Id"], layers=(), digest=digest)
    place = mirrored(name, settings.docker_hub_mirror) if is_of_docker_hub(name) else name
    found = pull(engine, f"{place.rpartition(':')[0]}@{pinned}" if pinned else place, platform, log)
    if isinstance(found, PullFailure):
        raised = ThirdPartyError if found.answered else ThirdPartyUnreachableError
        raise raised(
            f"{reference} is not on the engine for {platform}, and can't be pulled: {found.of(registry_of(place))}",
            hint="pull it there, set DOCKER_HUB_MIRROR to a registry that has it, or change THIRD_PARTY_IMAGES",
        )
    # Its own name may be that of another platform's image here, which somebody uses.
    engine.tag(found.image_id, ours)
    return LockedImage(reference=name, id=found.image_id, layers=(), digest=found.digest)


def _our_name(name: str, platform: Platform) -> str:
    """Under which an image is kept that was pulled for a bundle: no mirror of that name is ever asked."""
    repository, _, tag = name.rpartition(":")
    return f"localhost/fimg/third-party/{repository.replace(':', '_')}:{tag}-{platform}"


def _digest(record: Mapping[str, Any], name: str, pinned: str) -> str | None:
    """The digest a registry has an image of the engine by: the one wanted, or that of its own name."""
    known = [digest.partition("@") for digest in record.get("RepoDigests") or ()]
    if pinned:
        return pinned if any(digest == pinned for _, _, digest in known) else None
    own = name.rpartition(":")[0]
    return next(
        (digest for repository, _, digest in known if repository == own or repository.endswith(f"/{own}")), None
    )
