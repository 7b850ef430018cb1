"""The list over the platforms of an image, from which engines choose theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.ship.destination import Destination
from fimg_pipeline.ship.digests import digest_of
from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.push import platform_tag
from fimg_pipeline.ship.registry import MANIFEST_LIST
from fimg_pipeline.ship.wanted import REVISION


def with_those_of_others(
    destination: Destination, image: str, tag: str, own: Mapping[Platform, str], log: Callable[[str], None]
) -> dict[Platform, str]:
    """``own`` (digests as they were pushed from here), and the platforms that somebody else pushed as ``tag``.

    A team has a machine for each platform; none of them is to take the others' images off the list. Who pushed last may
    have another commit: ``log`` is told.
    """
    registry, repository = destination.registry, destination.repository(image)
    found: dict[Platform, str] = {}
    for platform in PLATFORMS:
        if platform in own:
            found[platform] = own[platform]
            continue
        name = platform_tag(tag, platform)
        digest = registry.manifest_digest(repository, name)
        if digest is None:
            continue
        found[platform] = digest
        theirs = (registry.labels(repository, digest) or {}).get(REVISION)
        ours = {(registry.labels(repository, each) or {}).get(REVISION) for each in own.values()}
        other = "" if ours == {theirs} else f"; what is from here is from {', '.join(sorted(map(_commit, ours)))}"
        log(f"{repository}:{name} was pushed from elsewhere, built from {_commit(theirs)}{other}")
    return found


def put_list(destination: Destination, image: str, tag: str, platforms: Mapping[Platform, str]) -> str:
    """Makes ``tag`` of ``image`` the list of what ``platforms`` (with the digests they were pushed by) are; its digest.

    :class:`ShipError` when one of them is not there as it was pushed, or not whole: then the tag stays what it was.
    """
    registry, repository = destination.registry, destination.repository(image)
    entries = []
    for platform, digest in platforms.items():
        described = registry.described(repository, platform_tag(tag, platform))
        if described is None or described.digest != digest:
            actual = "not there" if described is None else described.digest
            raise ShipError(
                f"{repository}:{platform_tag(tag, platform)} is {actual}, not {digest} as it was pushed",
                hint=f"push {platform} again: fimg push --platform {platform}",
            )
        problems = registry.image_problems(repository, digest)
        if problems:
            raise ShipError(
                f"{repository}:{platform_tag(tag, platform)} is not whole: {'; '.join(problems[:3])}",
                hint=f"push {platform} again: fimg push --platform {platform}",
            )
        entries.append({**described.document, "platform": {"architecture": platform, "os": "linux"}})
    document = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": entries}, separators=(",", ":")
    ).encode()
    if registry.manifest_digest(repository, tag) != digest_of(document):
        registry.put_manifest(repository, tag, MANIFEST_LIST, document)
    return digest_of(document)


def _commit(revision: str | None) -> str:
    return "an unknown commit" if revision is None else f"commit {revision}"
