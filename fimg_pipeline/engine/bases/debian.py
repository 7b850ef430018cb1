"""Debian base images without Docker Hub: debootstrap, then slimmed to what ``debian:*-slim`` holds.

The result keeps the interface of the official images: the same apt sources, the same names of the apt and dpkg
settings made for containers, no documentation and no lists. It carries nothing of this machine or its mirror.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.bases.tree import AddedFile, TreeRules, write_tree
from fimg_pipeline.engine.emulation import ensure_emulation
from fimg_pipeline.engine.host import (
    HostError,
    Say,
    contained,
    host_architecture,
    install_packages,
    require_command,
    require_root,
    run_logged,
)

DEBIAN: Final = "http://deb.debian.org/debian"
DEBIAN_SECURITY: Final = "http://deb.debian.org/debian-security"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Below /run of the tree: never archived, and where apt in the tree finds the CA bundle.
_SCRATCH: Final = "run/fimg"


@dataclass(frozen=True)
class Suite:
    """A Debian release and how its official image writes its apt sources."""

    name: str
    #: One file of deb822 paragraphs (from bookworm on) instead of one line per source.
    deb822: bool

    @property
    def one_line(self) -> Suite:
        """The same with sources of one line each, which apt reads from any file."""
        return replace(self, deb822=False)


SUITES: Final[Mapping[str, Suite]] = MappingProxyType(
    {suite.name: suite for suite in (Suite("bookworm", deb822=True), Suite("bullseye", deb822=False))}
)


@dataclass(frozen=True)
class Mirrors:
    """Where packages come from while bootstrapping. Never part of the image."""

    debian: str = DEBIAN
    security: str = DEBIAN_SECURITY
    #: A complete PEM bundle, for https mirrors behind a CA of one's own.
    ca_bundle: Path | None = None


@dataclass(frozen=True)
class DebianTree:
    """A bootstrapped Debian, ready to become an image."""

    archive: Path
    #: What it is, for the image's label: no mirror, no path of this machine.
    origin: str


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


def security_mirror(debian_mirror: str) -> str:
    """Where a mirror keeps security updates: beside ``/debian``, as ``/debian-security``; else Debian's own."""
    mirror = debian_mirror.rstrip("/")
    return f"{mirror}-security" if urlsplit(mirror).path.endswith("/debian") else DEBIAN_SECURITY


def sources_path(suite: Suite) -> str:
    return "etc/apt/sources.list.d/debian.sources" if suite.deb822 else "etc/apt/sources.list"


def sources_text(suite: Suite, mirrors: Mirrors, *, security: bool = True) -> str:
    """The apt sources of ``suite``: release, updates and, unless there is none, security."""
    name = suite.name
    archives: list[tuple[str, tuple[str, ...]]] = [(mirrors.debian, (name, f"{name}-updates"))]
    if security:
        archives.append((mirrors.security, (f"{name}-security",)))
    if not suite.deb822:
        return "".join(f"deb {uri} {part} main\n" for uri, parts in archives for part in parts)
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(parts)}\nComponents: main\nSigned-By: {_KEYRING}\n"
        for uri, parts in archives
    )


def kept(path: str, folder: bool) -> bool:
    """Whether a path of a bootstrapped tree belongs into a slim image."""
    parts = path.split("/")
    if path in _DROPPED or path.startswith(f"{_SCRATCH}/"):
        return False
    if any(path.startswith(f"{top}/") for top in _EMPTIED):
        return False
    if any(path.startswith(f"{top}/") for top in _FOLDERS_ONLY):
        return folder
    if parts[:2] == ["etc", parts[-1]] and parts[-1].endswith("-"):
        return False  # passwd-, shadow-: what passwd was before the last change
    if parts[:3] in (["var", "lib", "dpkg"], ["var", "cache", "debconf"]) and parts[-1].endswith("-old"):
        return False
    if path.startswith("usr/share/doc/"):
        # Licences stay; links stay because they lead to a package's shared copyright file.
        return folder or parts[-1] == "copyright" or len(parts) == 4
    if path.startswith("usr/share/man/"):
        return folder and len(parts) == 4 and parts[3].startswith("man") and parts[3][3:].isdigit()
    if path.startswith("usr/share/locale/"):
        return path == "usr/share/locale/locale.alias"
    return True


_DROPPED: Final = frozenset(
    {
        "debootstrap",
        "etc/hostname",
        "etc/resolv.conf",
        "var/cache/ldconfig/aux-cache",
        "var/lib/dbus/machine-id",
        _SCRATCH,
        *(f"usr/share/{name}" for name in ("groff", "info", "linda", "lintian")),
    }
)
_EMPTIED: Final = ("dev", "proc", "sys", "tmp", "var/tmp")
#: Programs expect these folders (apt refuses to run without /var/log/apt), not what was in them.
_FOLDERS_ONLY: Final = ("run", "var/cache/apt", "var/lib/apt/lists", "var/log")

#: What makes apt and dpkg behave in containers, under the names the official images use: recipes switch them off by
#: name, ``docker-clean`` when they cache downloaded packages.
_CONTAINER_SETTINGS: Final[Mapping[str, AddedFile]] = MappingProxyType(
    {
        "etc/machine-id": AddedFile(b""),
        "etc/apt/apt.conf.d/docker-clean": AddedFile(
            b"// Downloaded packages and apt's binary caches have no place in a layer.\n"
            b'DPkg::Post-Invoke { "find /var/cache/apt/archives -name *.deb -delete || true"; };\n'
            b'Dir::Cache::pkgcache "";\n'
            b'Dir::Cache::srcpkgcache "";\n'
        ),
        "etc/apt/apt.conf.d/docker-gzip-indexes": AddedFile(b'Acquire::GzipIndexes "true";\n'),
        "etc/apt/apt.conf.d/docker-no-languages": AddedFile(b'Acquire::Languages "none";\n'),
        "etc/apt/apt.conf.d/docker-autoremove-suggests": AddedFile(b'Apt::AutoRemove::SuggestsImportant "false";\n'),
        "etc/dpkg/dpkg.cfg.d/docker": AddedFile(
            b"# Packages installed later stay as slim as this image.\n"
            b"path-exclude /usr/share/doc/*\n"
            b"path-include /usr/share/doc/*/copyright\n"
            b"path-exclude /usr/share/groff/*\n"
            b"path-exclude /usr/share/info/*\n"
            b"path-exclude /usr/share/lintian/*\n"
            b"path-exclude /usr/share/locale/*\n"
            b"path-include /usr/share/locale/locale.alias\n"
            b"path-exclude /usr/share/man/*\n"
        ),
        "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": AddedFile(
            b"# A build that is cut short starts over: nothing to sync for.\nforce-unsafe-io\n"
        ),
        "usr/sbin/policy-rc.d": AddedFile(b"#!/bin/sh\n# Installing a service doesn't start it.\nexit 101\n", 0o755),
    }
)


def image_rules(suite: Suite, latest: int, *, security: bool) -> TreeRules:
    """How a bootstrapped tree of ``suite`` becomes a base image's only layer."""
    sources = {sources_path(suite): AddedFile(sources_text(suite, Mirrors(), security=security).encode())}
    unused = "etc/apt/sources.list" if suite.deb822 else None
    return TreeRules(
        keep=lambda path, folder: path != unused and kept(path, folder),
        latest=latest,
        added={**_CONTAINER_SETTINGS, **sources},
    )


def release_time(releases: Iterable[str]) -> int:
    """The latest ``Date:`` of apt Release files, in Unix seconds: as of when a tree's packages are."""
    dates = [
        int(parsedate_to_datetime(line.partition(":")[2].strip()).timestamp())
        for text in releases
        for line in text.splitlines()
        if line.startswith("Date:")
    ]
    if not dates:
        raise HostError(
            "the bootstrapped Debian has no dated Release file", hint="check APT_MIRROR: is it a Debian mirror?"
        )
    return max(dates)


def bootstrap_debian(reference: str, arch: Platform, mirrors: Mirrors, work: Path, say: Say) -> DebianTree:
    """Makes an equivalent of ``debian:<suite>-slim`` for ``arch`` as an archive in ``work`` (an empty folder)."""
    suite = suite_of(reference)
    purpose = f"bootstrapping {reference} for {arch}"
    require_root(purpose)
    debootstrap = require_command("debootstrap", ["debootstrap"], purpose=purpose, say=say)
    if not _KEYRING.is_file():
        install_packages(["debian-archive-keyring"], purpose=purpose, say=say)
    native = arch == host_architecture()
    if not native:
        ensure_emulation(arch, say=say)
    tree, log = work / "rootfs", work / "log"
    say(f"{purpose}: debootstrap of Debian {suite.name}, {'about a minute' if native else 'some minutes in emulation'}")
    run_logged(
        contained([debootstrap, *_options(arch), suite.name, str(tree), mirrors.debian]),
        log,
        what=f"debootstrap of Debian {suite.name} for {arch}",
        hint="check the network, APT_MIRROR, and that the state folder's disk allows device files",
        environment=_environment(mirrors, work),
    )
    secure = _update(tree, suite, mirrors, log, say)
    latest = release_time(
        path.read_text(errors="replace") for path in sorted((tree / "var/lib/apt/lists").glob("*Release"))
    )
    archive = work / "rootfs.tar"
    with archive.open("wb") as output:
        write_tree(tree, output, image_rules(suite, latest, security=secure))
    version = (tree / "etc/debian_version").read_text().strip()
    shutil.rmtree(tree)
    day = datetime.fromtimestamp(latest, timezone.utc).date()
    return DebianTree(
        archive,
        f"Debian {version} ({suite.name}) made by debootstrap from packages as of {day}"
        + ("" if secure else ", without security updates"),
    )


def _options(arch: Platform) -> Sequence[str]:
    return ("--variant=minbase", f"--arch={arch}", f"--keyring={_KEYRING}", "--components=main")


def _environment(mirrors: Mirrors, work: Path) -> Mapping[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("TMPDIR", "LANGUAGE", "LANG")}
    environment |= {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    if mirrors.ca_bundle is not None:
        # debootstrap downloads with wget, which takes its CA from a configuration file only.
        wgetrc = work / "wgetrc"
        wgetrc.write_text(f"ca_certificate = {mirrors.ca_bundle}\n")
        environment["WGETRC"] = str(wgetrc)
    return environment


def _update(tree: Path, suite: Suite, mirrors: Mirrors, log: Path, say: Say) -> bool:
    """Brings ``tree`` to the state of updates and security; false, and said, when there are no security updates.

    A suite whose support ended keeps its security lists for a while after the packages in them are gone: an image
    with that source could install nothing.
    """
    scratch = tree / _SCRATCH
    scratch.mkdir(parents=True)
    options = [f"Dir::Etc::SourceList=/{_SCRATCH}/sources.list", "Dir::Etc::SourceParts=/dev/null"]
    if mirrors.ca_bundle is not None:
        shutil.copyfile(mirrors.ca_bundle, scratch / "ca.pem")
        options.append(f"Acquire::https::CaInfo=/{_SCRATCH}/ca.pem")
    environment = _environment(mirrors, tree.parent)

    def apt(*arguments: str) -> None:
        run_logged(
            _inside(tree, "apt-get", *(part for option in options for part in ("-o", option)), *arguments),
            log,
            what=f"updating Debian {suite.name}",
            hint="check APT_MIRROR and APT_SECURITY_MIRROR",
            environment=environment,
        )

    def upgrade(*, security: bool) -> None:
        (scratch / "sources.list").write_text(sources_text(suite.one_line, mirrors, security=security))
        apt("-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=3", "update")
        apt("-y", "--download-only", "dist-upgrade")

    secure = True
    try:
        upgrade(security=True)
    except HostError as error:
        say(f"Debian {suite.name} stays without security updates, they can't be had:\n{error.message}")
        upgrade(security=False)
        secure = False
    apt("-y", "-o", "Dpkg::Options::=--force-unsafe-io", "dist-upgrade")
    return secure


def _inside(tree: Path, *command: str) -> Sequence[str]:
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    return contained(["sh", "-c", script, str(tree), *command])
