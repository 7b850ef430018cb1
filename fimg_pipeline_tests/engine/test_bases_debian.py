"""How package files become a tree, and what of it goes into an image."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.engine.bases.debian import image_rules, kept, write_unpacked
from fimg_pipeline.engine.bases.suites import SUITES
from fimg_pipeline.engine.host import HostError


def package(folder: Path, name: str, files: Mapping[str, str], links: Mapping[str, str] | None = None) -> Path:
    """A Debian package with ``files``; ``links`` are hard ones, from a path to another."""
    tree = folder / name
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    for path, target in (links or {}).items():
        (tree / path).hardlink_to(tree / target)
    control = tree / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    made = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True, capture_output=True)
    return made


def unpacked(folder: Path, packages: list[Path], arch: Platform = "amd64") -> dict[str, tarfile.TarInfo]:
    archive = folder / "unpacked.tar"
    write_unpacked(packages, arch, archive)
    with tarfile.open(archive) as content:
        names = [member.name for member in content]
        assert len(names) == len(set(names))
        return {member.name: member for member in content}


def test_what_packages_have_at_the_root_is_below_usr(tmp_path: Path) -> None:
    shell = package(tmp_path, "shell", {"bin/sh": "sh", "etc/profile": ""}, {"bin/other": "bin/sh"})
    found = unpacked(tmp_path, [shell, package(tmp_path, "tool", {"bin/tool": "", "usr/bin/more": ""})])
    assert {"usr/bin/sh", "usr/bin/other", "usr/bin/tool", "usr/bin/more", "etc/profile"} <= found.keys()
    assert found["bin"].issym() and found["bin"].linkname == "usr/bin"
    linked = {name: found[name].linkname for name in ("usr/bin/sh", "usr/bin/other") if found[name].islnk()}
    assert linked in ({"usr/bin/sh": "usr/bin/other"}, {"usr/bin/other": "usr/bin/sh"})
    assert found["var/lib/dpkg/status"].size == 0
    assert {member.uid for member in found.values()} == {0}


@pytest.mark.parametrize("arch", PLATFORMS)
def test_lib64_is_where_the_architecture_has_its_loader(tmp_path: Path, arch: Platform) -> None:
    assert ("lib64" in unpacked(tmp_path, [], arch)) is (arch == "amd64")


def test_a_file_that_is_no_package_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.deb"
    broken.write_text("half")
    with pytest.raises(HostError, match=r"broken\.deb is no Debian package"):
        unpacked(tmp_path, [broken])


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("usr/bin/bash", False, True),
        ("etc/passwd", False, True),
        ("etc/passwd-", False, False),
        ("etc/security/odd-", False, True),
        ("etc/resolv.conf", False, False),
        ("etc/hostname", False, False),
        ("var/lib/dpkg/status", False, True),
        ("var/lib/dpkg/status-old", False, False),
        ("var/log/apt", True, True),
        ("var/log/apt/history.log", False, False),
        ("var/log/dpkg.log", False, False),
        ("var/lib/apt/lists/partial", True, True),
        ("var/lib/apt/lists/deb_InRelease", False, False),
        ("var/cache/apt/archives/bash.deb", False, False),
        ("run/lock", True, True),
        ("dev", True, True),
        ("dev/null", False, False),
        ("proc/1", True, False),
        ("tmp/x", False, False),
        ("usr/share/doc/bash", True, True),
        ("usr/share/doc/bash/copyright", False, True),
        ("usr/share/doc/bash/README.gz", False, False),
        ("usr/share/doc/libgcc-s1", False, True),  # a link to its source package's folder
        ("usr/share/man/man1", True, True),
        ("usr/share/man/man1/bash.1.gz", False, False),
        ("usr/share/man/de", True, False),
        ("usr/share/locale/de", True, False),
        ("usr/share/locale/locale.alias", False, True),
        ("usr/share/info", True, False),
    ],
)
def test_what_a_slim_image_keeps(path: str, folder: bool, expected: bool) -> None:
    assert kept(path, folder) is expected


def test_an_image_never_names_the_mirror_it_was_made_with() -> None:
    added = image_rules(SUITES["bookworm"], 0, security=True).added
    assert b"http://deb.debian.org/debian\n" in added["etc/apt/sources.list.d/debian.sources"].content
    assert added["etc/machine-id"].content == b""
    assert added["usr/sbin/policy-rc.d"].mode == 0o755


def test_only_one_kind_of_sources_is_in_an_image() -> None:
    assert not image_rules(SUITES["bookworm"], 0, security=True).keep("etc/apt/sources.list", False)
    assert image_rules(SUITES["bullseye"], 0, security=True).keep("etc/apt/sources.list", False)
