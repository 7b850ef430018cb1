"""Debian releases, and where their packages come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fimg_pipeline.engine.host import HostError
from fimg_pipeline.settings import DEBIAN, DEBIAN_SECURITY

#: Where images have Debian's keys.
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Suite:
    """A Debian release and how its official image writes its apt sources."""

    name: str
    #: One file of deb822 paragraphs (from bookworm on) instead of one line per source.
    deb822: bool
    #: Its support has ended: lists of security updates may be there, and packages in them gone.
    ended: bool = False
    #: Beside the smallest Debian: what decides between packages that stand for the same.
    extra_packages: tuple[str, ...] = ()

    @property
    def one_line(self) -> Suite:
        """The same with sources of one line each, which apt reads from any file."""
        return replace(self, deb822=False)


SUITES: Final[Mapping[str, Suite]] = MappingProxyType(
    {
        suite.name: suite
        for suite in (
            # Its folders below /usr are where they belong; the alternative is the program that moves them there.
            Suite("bookworm", deb822=True, extra_packages=("usr-is-merged",)),
            Suite("bullseye", deb822=False, ended=True),
        )
    }
)


@dataclass(frozen=True)
class Mirrors:
    """Where packages come from while bootstrapping. Never part of the image."""

    debian: str = DEBIAN
    security: str = DEBIAN_SECURITY
    #: A complete PEM bundle, for https mirrors behind a CA of one's own.
    ca_bundle: Path | None = None


def suite_of(reference: str) -> Suite:
    """The suite of ``debian:bookworm-slim``."""
    name = reference.partition(":")[2].removesuffix("-slim")
    try:
        return SUITES[name]
    except KeyError:
        raise HostError(
            f"{reference} can't be bootstrapped: only Debian {' and '.join(SUITES)} are known",
            hint="let the engine reach Docker Hub, or set DOCKER_HUB_MIRROR",
        ) from None


def sources_path(suite: Suite) -> str:
    return "etc/apt/sources.list.d/debian.sources" if suite.deb822 else "etc/apt/sources.list"


def sources_text(suite: Suite, mirrors: Mirrors, *, security: bool = True, keyring: Path | None = None) -> str:
    """The apt sources of ``suite``: release, updates and, unless there is none, security.

    ``keyring``: for sources of one line each, the keys they are signed with.
    """
    name = suite.name
    archives: list[tuple[str, tuple[str, ...]]] = [(mirrors.debian, (name, f"{name}-updates"))]
    if security:
        archives.append((mirrors.security, (f"{name}-security",)))
    if not suite.deb822:
        signed = f"[signed-by={keyring}] " if keyring else ""
        return "".join(f"deb {signed}{uri} {part} main\n" for uri, parts in archives for part in parts)
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(parts)}\nComponents: main\nSigned-By: {_KEYRING}\n"
        for uri, parts in archives
    )
