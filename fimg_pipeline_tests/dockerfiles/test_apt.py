"""Where the recipes' library has apt look for packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.dockerfiles import ROOT
from fimg_pipeline.engine.bases.suites import SUITES, Mirrors, Suite, sources_path, sources_text

KEY = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"


def configured(root: Path, suite: Suite, network: str, *, text: str | None = None) -> dict[str, str]:
    """What ``apt_configure`` leaves in ``/run`` of an image of ``suite``, below ``root``: sources by file name.

    ``text`` is what the image has for sources, unless it is what all have.
    """
    sources = root / sources_path(suite)
    sources.parent.mkdir(parents=True)
    sources.write_text(sources_text(suite, Mirrors()) if text is None else text)
    (root / "etc/os-release").write_text(f"VERSION_CODENAME={suite.name}\n")
    (root / "run/secrets").mkdir(parents=True)
    (root / "run/secrets/network").write_text(network)
    script = (ROOT / "lib/build.sh").read_text() + "apt_configure\n"
    for folder in ("/etc/", "/run/"):
        script = script.replace(f"{folder}", f"{root}{folder}")
    subprocess.run(["sh", "-c", script], check=True, cwd=root)
    found = [root / "run/sources.list", *(root / "run/sources.d").glob("*")]
    return {file.name: file.read_text() for file in found if file.is_file()}


@pytest.mark.parametrize("name", SUITES)
def test_mirrors_take_the_place_of_debians_archives(tmp_path: Path, name: str) -> None:
    network = "export APT_MIRROR='https://me:a&b#1@m.example/debian' APT_SECURITY_MIRROR=https://m.example/sec/\n"
    assert configured(tmp_path, SUITES[name], network) == {
        "sources.list": f"deb {KEY} https://me:a&b#1@m.example/debian {name} main\n"
        f"deb {KEY} https://me:a&b#1@m.example/debian {name}-updates main\n"
        f"deb {KEY} https://m.example/sec {name}-security main\n"
    }


@pytest.mark.parametrize("commented", ["", "# deb http://deb.debian.org/debian-security bullseye-security main\n"])
def test_an_image_without_security_updates_gets_none(tmp_path: Path, commented: str) -> None:
    """Its suite's are gone: with such a source nothing could be installed."""
    network = "export APT_MIRROR=http://m.example/debian APT_SECURITY_MIRROR=http://m.example/debian-security\n"
    suite = SUITES["bullseye"]
    text = sources_text(suite, Mirrors(), security=False) + commented
    found = configured(tmp_path, suite, network, text=text)
    assert "bullseye-updates" in found["sources.list"] and "security" not in found["sources.list"]


def test_without_mirrors_the_images_own_sources_hold(tmp_path: Path) -> None:
    suite = SUITES["bookworm"]
    assert configured(tmp_path, suite, "") == {"debian.sources": sources_text(suite, Mirrors())}
