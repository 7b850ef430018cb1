"""What of a bootstrapped Debian goes into an image, and where its packages come from."""

from __future__ import annotations

import pytest

from fimg_pipeline.engine.bases.debian import (
    DEBIAN_SECURITY,
    SUITES,
    Mirrors,
    image_rules,
    kept,
    release_time,
    security_mirror,
    sources_path,
    sources_text,
    suite_of,
)
from fimg_pipeline.engine.host import HostError


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
        ("run/fimg", True, False),
        ("run/fimg/ca.pem", False, False),
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


def test_sources_are_written_as_the_official_images_do() -> None:
    bookworm = sources_text(SUITES["bookworm"], Mirrors())
    assert sources_path(SUITES["bookworm"]) == "etc/apt/sources.list.d/debian.sources"
    assert "Suites: bookworm bookworm-updates\n" in bookworm
    assert "URIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n" in bookworm
    assert sources_path(SUITES["bullseye"]) == "etc/apt/sources.list"
    assert sources_text(SUITES["bullseye"], Mirrors()).splitlines() == [
        "deb http://deb.debian.org/debian bullseye main",
        "deb http://deb.debian.org/debian bullseye-updates main",
        "deb http://deb.debian.org/debian-security bullseye-security main",
    ]


@pytest.mark.parametrize("name", SUITES)
def test_without_security_updates_there_is_no_such_source(name: str) -> None:
    assert "security" not in sources_text(SUITES[name], Mirrors(), security=False)


def test_an_image_never_names_the_mirror_it_was_made_with() -> None:
    added = image_rules(SUITES["bookworm"], 0, security=True).added
    assert b"http://deb.debian.org/debian\n" in added["etc/apt/sources.list.d/debian.sources"].content
    assert added["etc/machine-id"].content == b""
    assert added["usr/sbin/policy-rc.d"].mode == 0o755


def test_only_one_kind_of_sources_is_in_an_image() -> None:
    assert not image_rules(SUITES["bookworm"], 0, security=True).keep("etc/apt/sources.list", False)
    assert image_rules(SUITES["bullseye"], 0, security=True).keep("etc/apt/sources.list", False)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ("https://mirror.example/debian", "https://mirror.example/debian-security"),
        ("https://mirror.example/debian/", "https://mirror.example/debian-security"),
        ("https://mirror.example/repository/apt", DEBIAN_SECURITY),
    ],
)
def test_a_mirrors_security_updates_are_beside_its_debian(mirror: str, expected: str) -> None:
    assert security_mirror(mirror) == expected


def test_suites() -> None:
    assert suite_of("debian:bullseye-slim").name == "bullseye"
    with pytest.raises(HostError, match="debian:sid-slim can't be bootstrapped"):
        suite_of("debian:sid-slim")


def test_the_latest_release_dates_the_tree() -> None:
    older = "Origin: Debian\nDate: Sat, 09 Aug 2025 09:16:30 UTC\n"
    newer = "Date: Sat, 12 Sep 2026 09:27:08 UTC\nValid-Until: Sat, 19 Sep 2026 09:27:08 UTC\n"
    assert release_time([newer, older]) == 1789205228
    with pytest.raises(HostError, match="no dated Release file"):
        release_time(["Origin: Debian\n"])
