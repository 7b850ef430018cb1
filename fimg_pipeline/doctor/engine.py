"""The Docker engine: whether there is one to use, its client, its disk, other architectures, base images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.doctor.findings import Finding, Verdict, told, wrong
from fimg_pipeline.engine import emulation
from fimg_pipeline.engine.bases import present, wanted_bases
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.fitness import ROOM_HINT, free_bytes, require_fit
from fimg_pipeline.engine.hub import PullFailure, digest_of
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings

#: What all 34 images of the real FATE, their packages and BuildKit's cache come to, with some room for changes.
_AMPLE: Final = 40e9


def engine(settings: Settings) -> Iterator[Finding]:
    """Of every engine that builds are for; of one that does not answer nothing else is asked."""
    by_address: dict[str | None, list[Platform]] = {}
    for platform in dict.fromkeys((settings.platform, *settings.watched_platforms)):
        by_address.setdefault(replace(settings, platform=platform).engine_address, []).append(platform)
    for address, platforms in by_address.items():
        which = f" for {' and '.join(platforms)}" if len(by_address) > 1 else ""
        yield from _one(Engine(address), platforms, settings, which)


def _one(found: Engine, platforms: Sequence[Platform], settings: Settings, which: str) -> Iterator[Finding]:
    try:
        require_fit(found)
        yield Finding(f"engine{which}", Verdict.OK, f"Docker {found.version} on {found.platform}, at {found.address}")
    except FimgError as error:
        yield wrong(f"engine{which}", error)
        return
    yield from told("docker client", lambda: f"{found.cli}, with BuildKit")
    yield _disk(found)
    for platform in platforms:
        if platform != found.platform:
            yield _foreign(platform, found, settings)
    yield from _bases(platforms, found, settings)
    if settings.shared_registry is not None:
        yield _shared(settings.shared_registry, found, which)


def _shared(place: str, found: Engine, which: str) -> Finding:
    """Whether the engine reaches the registry; whether it may write there shows when it does."""
    answer = digest_of(found, f"{place}/image/base-image:none")
    if isinstance(answer, PullFailure) and not answer.answered:
        hint = "the engine asks for it, not this machine: its network, its `insecure-registries`"
        return Finding(f"shared registry{which}", Verdict.WRONG, answer.of(place), hint)
    return Finding(f"shared registry{which}", Verdict.OK, f"{place} answers the engine")


def _disk(found: Engine) -> Finding:
    free = free_bytes(found)
    if free is None:
        return Finding("engine's disk", Verdict.NOTE, "it can't be looked at from here")
    ample = free > _AMPLE
    what = f"{free / 1e9:.0f} GB free in {found.disk}"
    return Finding(
        "engine's disk",
        Verdict.OK if ample else Verdict.WARNING,
        what if ample else f"{what}; all images of FATE and what is kept to build them again take up to 40",
        "" if ample else ROOM_HINT,
    )


def _foreign(platform: Platform, found: Engine, settings: Settings) -> Finding:
    part = f"{platform} on {found.platform}"
    try:
        runs = emulation.runs(platform, found, settings)
    except FimgError as error:
        return wrong(part, error)
    if runs:
        return Finding(part, Verdict.OK, f"the engine runs programs of {platform}")
    return Finding(
        part,
        Verdict.NOTE,
        f"the engine runs no programs of {platform} yet: the first build registers QEMU with its kernel",
        f"or do it yourself: docker run --privileged --rm tonistiigi/binfmt --install {platform}",
    )


def _bases(platforms: Sequence[Platform], found: Engine, settings: Settings) -> Iterator[Finding]:
    wanted = dict.fromkeys(each for platform in platforms for each in wanted_bases(platform, found.platform))
    for base, platform in wanted:
        part = f"{base.reference} for {platform}"
        there = present(base, platform, found)
        if there is not None:
            yield Finding(part, Verdict.OK, there.origin)
        else:
            where = settings.docker_hub_mirror or "Docker Hub, or made from packages where that can't be reached"
            yield Finding(part, Verdict.NOTE, f"not there yet: the first build has it from {where}")
