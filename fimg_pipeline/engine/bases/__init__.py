"""The external base images on the engine: there already, pulled, or bootstrapped.

Where a base comes from, in this order:

1. the local name exists: nothing to do;
2. with ``DOCKER_HUB_MIRROR``: from that registry, and only from it. Whoever sets it decided where bases come from;
   when it can't be reached or doesn't give the image, that is an error;
3. from Docker Hub. It was nobody's decision, so when it can't be used for any reason (no network, a rate limit, a
   certificate of the network's own) an equivalent is bootstrapped, and one line says what was taken instead.

One that was pulled and is to be newer stays where neither has it now: nobody's build waits for a registry because a
night wanted to be up to date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from fimg_pipeline import freshness
from fimg_pipeline.catalog.bases import BASES, ExternalBase, pulled_name
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.bases.bootstrap import LABEL_ORIGIN, Bootstrap, Ground
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.hub import DOCKER_HUB, Pulled, PullFailure, digest_of, mirror_error, mirrored, pull
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import locked

_UNKNOWN_ORIGIN: Final = "of unknown origin (tagged by hand)"
_DIGEST_TAG: Final = re.compile(r"-sha256-([0-9a-f]{64})$")


@dataclass(frozen=True)
class BaseState:
    """A base image on the engine, and the ``digests`` it was pulled by, if it was; ``made``: it was not there yet."""

    base: ExternalBase
    platform: Platform
    image_id: str
    origin: str
    digests: frozenset[str]
    made: bool

    @property
    def local(self) -> str:
        """The name recipes get it by."""
        return self.base.local_reference(self.platform)

    def __str__(self) -> str:
        return f"{self.base.reference} ({self.platform}): {self.origin} [{self.local}]"


def ensure_bases(
    settings: Settings, engine: Engine, *, refresh: bool = False, log: Callable[[str], None]
) -> Iterator[BaseState]:
    """Makes sure of every base a build for ``settings.platform`` needs, one after the other.

    Packages are built on the engine's own platform, so their bases are needed for that one.
    """
    for base, platform in wanted_bases(settings.platform, engine.platform):
        yield ensure_base(base, platform, settings, engine, refresh=refresh, log=log)


def wanted_bases(platform: Platform, native: Platform) -> list[tuple[ExternalBase, Platform]]:
    """Which bases for which platforms a build for ``platform`` on an engine of ``native`` needs."""
    ordered = sorted(BASES.values(), key=lambda base: base.reference)
    images = [(base, platform) for base in ordered if not base.build_only]
    packages = [(base, native) for base in ordered if base.build_only or base.name == "debian"]
    return list(dict.fromkeys(packages + images))


def ensure_base(
    base: ExternalBase,
    platform: Platform,
    settings: Settings,
    engine: Engine,
    *,
    refresh: bool = False,
    log: Callable[[str], None],
) -> BaseState:
    """Makes sure the engine has ``base`` for ``platform`` under its local name, as new as it has to be.

    ``refresh``, which somebody asked for, pulls or bootstraps again what is there. Two runs at once make it once; a run
    that is killed leaves nothing under the local name.
    """
    if not refresh and (there := _new_enough(base, platform, settings, engine)) is not None:
        return there
    with locked(settings.home / "locks" / f"base-{base.name}-{platform}"):
        # Another run may have made it while this one waited.
        if not refresh and (there := _new_enough(base, platform, settings, engine)) is not None:
            return there
        mirror = settings.docker_hub_mirror
        answer = pull(engine, mirrored(base.reference, mirror), platform, log)
        if isinstance(answer, Pulled):
            _name(base, platform, answer, engine)
            log(f"{base.reference} ({platform}): pulled from {mirror or DOCKER_HUB}")
        else:
            there = present(base, platform, engine)
            # One that was made here is made anew when its tag is refreshed, not because a registry has another.
            made_anew = mirror is None and there is not None and not there.digests and _is_due(there.local, settings)
            if there is not None and not refresh and not made_anew:
                freshness.stays(settings.home, there.local)
                log(
                    f"{base.reference} ({platform}) is to be newer, and {answer.of(mirror or DOCKER_HUB)}: "
                    "built on the one that is there"
                )
                return there
            if mirror is not None:
                raise mirror_error(base.reference, mirror, answer)
            _bootstrap(base, platform, settings, engine, answer, refresh=refresh or there is not None, log=log)
        digest = answer.digest if isinstance(answer, Pulled) else None
        freshness.renewed(settings.home, base.local_reference(platform), digest)
    made = present(base, platform, engine)
    if made is None:
        raise RuntimeError(f"{base.local_reference(platform)} was made, but the engine doesn't have it")
    return replace(made, made=True)


def _bootstrap(
    base: ExternalBase,
    platform: Platform,
    settings: Settings,
    engine: Engine,
    problem: PullFailure,
    *,
    refresh: bool,
    log: Callable[[str], None],
) -> None:
    def ground(name: str, platform: Platform) -> Ground:
        state = ensure_base(BASES[name], platform, settings, engine, log=log)
        return Ground(state.local, state.base.reference, state.origin)

    bootstrap = Bootstrap(engine, settings, ground, log, fresh=refresh)
    make = bootstrap.debian if base.reference.startswith("debian:") else bootstrap.python
    made = make(base, platform)
    log(f"{base.reference} ({platform}): {problem.of(DOCKER_HUB)}; {made.told}")


def newest(settings: Settings, engine: Engine) -> dict[str, str | PullFailure]:
    """By reference, the digest of every external base in its registry now, or why that can't be said; all at once."""
    references = sorted({base.reference for base in BASES.values()})
    with ThreadPoolExecutor(len(references)) as pool:
        places = [mirrored(reference, settings.docker_hub_mirror) for reference in references]
        return dict(zip(references, pool.map(lambda place: digest_of(engine, place), places), strict=True))


def _new_enough(base: ExternalBase, platform: Platform, settings: Settings, engine: Engine) -> BaseState | None:
    """The one that is there, unless a newer one was decided on, or the tag is refreshed since it was made."""
    there = present(base, platform, engine)
    kept, local = freshness.read(settings.home), base.local_reference(platform)
    if there is None or (local in kept.wanted and kept.wanted[local] not in there.digests):
        return None
    return None if _is_due(local, settings) else there


def _is_due(local: str, settings: Settings) -> bool:
    """Whether the tag is to be refreshed since the base was last renewed."""
    kept = freshness.read(settings.home)
    refreshed = kept.refreshed.get(settings.tag)
    return refreshed is not None and kept.renewed.get(local, "") < refreshed


def present(base: ExternalBase, platform: Platform, engine: Engine) -> BaseState | None:
    """The base as the engine has it under its local name, if it is for ``platform``."""
    record = engine.inspect(base.local_reference(platform))
    if record is None or record["Architecture"] != platform:
        return None
    digests = frozenset(_pulled_as(base, platform, record))
    return BaseState(base, platform, str(record["Id"]), origin_of(base, platform, record), digests, made=False)


def origin_of(base: ExternalBase, platform: Platform, record: Mapping[str, Any]) -> str:
    """Where an image with a base's local name comes from: its label, or the digest in its second name."""
    labels: Mapping[str, str] = record["Config"].get("Labels") or {}
    if origin := labels.get(LABEL_ORIGIN):
        return origin
    digests = _pulled_as(base, platform, record)
    return f"pulled as {digests[0]}" if digests else _UNKNOWN_ORIGIN


def _pulled_as(base: ExternalBase, platform: Platform, record: Mapping[str, Any]) -> list[str]:
    """The digests an image was pulled by, as its further names say: lists change while one of their images stays."""
    return [
        f"sha256:{digest[1]}"
        for tag in record.get("RepoTags") or ()
        if tag.startswith(base.local_reference(platform)) and (digest := _DIGEST_TAG.search(tag))
    ]


def _name(base: ExternalBase, platform: Platform, pulled: Pulled, engine: Engine) -> None:
    """Gives a pulled image its local name, after a second one with the digest it was pulled by.

    A label would make it another image than everybody else's, and the engine's own record of the digest moves to the
    other platform when that is pulled as well.
    """
    local = base.local_reference(platform)
    engine.tag(pulled.image_id, pulled_name(local, pulled.digest))
    engine.tag(pulled.image_id, local)
