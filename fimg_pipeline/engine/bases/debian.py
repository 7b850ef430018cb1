"""Debian base images without Docker Hub: package files become a tree, and the tree what ``debian:*-slim`` holds.

The result keeps the interface of the official images: the same apt sources, the same names of the apt and dpkg
settings made for containers, no documentation and no lists. It carries nothing of this machine or its mirror.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.bases.suites import Mirrors, Suite, sources_path, sources_text
from fimg_pipeline.engine.bases.tree import AddedFile, TreeRules
from fimg_pipeline.engine.host import HostError

#: Folders that Debian has below ``usr`` and leads to from the root, while its packages still name the root.
_MERGED: Final[Mapping[Platform, Sequence[str]]] = {
    "amd64": ("bin", "lib", "lib64", "sbin"),
    "arm64": ("bin", "lib", "sbin"),
}
#: How an unpacked tree becomes an installed one: dpkg is in it, and runs there. ``sh`` is a link that bullseye's dash
#: makes when it is installed, and that other packages need before.
INSTALL_DOCKERFILE: Final = """\
FROM scratch
ADD unpacked.tar /
ENV PATH=/usr/sbin:/usr/bin DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C
RUN --mount=type=bind,source=packages,target=/tmp/packages \
    ["/usr/bin/bash", "-ec", "[ -e /usr/bin/sh ] || ln -s dash /usr/bin/sh; \
    exec dpkg --force-depends --force-unsafe-io --install /tmp/packages/*.deb"]
"""


def write_unpacked(packages: Sequence[Path], arch: Platform, output: Path) -> None:
    """Writes the files of ``packages`` as one tar: enough of a Debian for dpkg to run in, with nothing installed."""
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as archive:
        seen: set[str] = set()
        for member in _skeleton(arch):
            seen.add(member.name)
            archive.addfile(member)
        for package in packages:
            for member, file in _files(package):
                member.name = _merged(member.name, arch)
                if member.name in seen or not member.name:
                    continue
                seen.add(member.name)
                if member.islnk():
                    member.linkname = _merged(member.linkname, arch)
                archive.addfile(member, file)
        archive.addfile(tarfile.TarInfo("var/lib/dpkg/status"))


def _files(package: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What ``package`` brings, files with their content."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking:
        try:
            with tarfile.open(fileobj=unpacking.stdout, mode="r|") as content:
                for member in content:
                    yield member, content.extractfile(member) if member.isreg() else None
        except tarfile.TarError:
            unpacking.kill()
    if unpacking.returncode != 0:
        raise HostError(f"{package.name} is no Debian package", hint="check APT_MIRROR; what it gave can't be unpacked")


def _skeleton(arch: Platform) -> Iterator[tarfile.TarInfo]:
    for name in ("usr", *(f"usr/{name}" for name in _MERGED[arch])):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        yield folder
    for name in _MERGED[arch]:
        link = tarfile.TarInfo(name)
        link.type, link.mode, link.linkname = tarfile.SYMTYPE, 0o777, f"usr/{name}"
        yield link


def _merged(path: str, arch: Platform) -> str:
    """Where ``./bin/x`` of a package is in the tree; empty for the root itself."""
    path = path.removeprefix(".").strip("/")
    return f"usr/{path}" if path.partition("/")[0] in _MERGED[arch] else path


def kept(path: str, folder: bool) -> bool:
    """Whether a path of an installed tree belongs into a slim image."""
    parts = path.split("/")
    if path in _DROPPED:
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
        "etc/hostname",
        "etc/resolv.conf",
        "var/cache/ldconfig/aux-cache",
        "var/lib/dbus/machine-id",
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
        "etc/fstab": AddedFile(b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"),
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
    """How an installed tree of ``suite`` becomes a base image's only layer."""
    sources = {sources_path(suite): AddedFile(sources_text(suite, Mirrors(), security=security).encode())}
    unused = "etc/apt/sources.list" if suite.deb822 else None
    return TreeRules(
        keep=lambda path, folder: path != unused and kept(path, folder),
        latest=latest,
        added={**_CONTAINER_SETTINGS, **sources},
    )
