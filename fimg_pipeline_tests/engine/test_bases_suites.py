"""Debian's releases and where their packages come from."""

from __future__ import annotations

import pytest

from fimg_pipeline.engine.bases.suites import (
    SUITES,
    Mirrors,
    sources_path,
    sources_text,
    suite_of,
)
from fimg_pipeline.engine.host import HostError


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


def test_suites() -> None:
    assert suite_of("debian:bullseye-slim").name == "bullseye"
    with pytest.raises(HostError, match="debian:sid-slim can't be bootstrapped"):
        suite_of("debian:sid-slim")
