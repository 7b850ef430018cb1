"""The processor architectures images are built for (the build document's ``Platform``)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

Platform = Literal["amd64", "arm64"]

PLATFORMS: Final[tuple[Platform, ...]] = get_args(Platform)

#: What Linux (``uname -m``) and Python's packages call them.
MACHINES: Final[Mapping[Platform, str]] = MappingProxyType({"amd64": "x86_64", "arm64": "aarch64"})


def as_platform(text: str) -> Platform:
    """``text`` as a platform; ``ValueError`` when it is none of them."""
    for platform in PLATFORMS:
        if platform == text:
            return platform
    raise ValueError(f"{text!r} is none of {', '.join(PLATFORMS)}")


def platform_of(machine: str) -> Platform:
    """The platform of what Linux or Docker calls ``machine``; ``ValueError`` when it is none of them."""
    return as_platform({name: platform for platform, name in MACHINES.items()}.get(machine, machine))


def docker_platform(platform: Platform) -> str:
    """What ``docker build --platform`` calls it: ``linux/amd64``."""
    return f"linux/{platform}"
