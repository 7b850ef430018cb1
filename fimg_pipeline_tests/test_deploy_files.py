"""What the deployment is built by, as far as that needs no engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fimg_pipeline_tests.rig.deployment import PROJECT

DEPLOY = PROJECT / "deploy"


def test_all_that_the_project_asks_for_is_pinned_as_it_asks() -> None:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    (needed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)
    (deployed,) = re.findall(r"^deploy = \[(.*?)\]$", text, re.M)
    asked = [Requirement(each) for each in re.findall(r'^ *"(.*?)"', f"{needed}\n{deployed}", re.M)]
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name.lower(): version for name, _, version in (line.partition("==") for line in lines if line[0] != "#")}
    assert len(asked) > 10 and all(pinned.values())
    assert [each.name for each in asked if not each.specifier.contains(pinned.get(each.name.lower(), ""))] == []


@pytest.mark.parametrize(
    "sources",
    [
        "Types: deb\nURIs: {debian}\nSuites: bookworm bookworm-updates\n\nTypes: deb\nURIs: {security}\n",
        "deb {debian} bookworm main\ndeb [signed-by=/k.gpg] {security} bookworm-security main\n",
    ],
)
@pytest.mark.parametrize(
    "own", ["http://deb.debian.org/debian-security", "http://security.debian.org/debian-security/"]
)
@pytest.mark.parametrize("said", ["https://mirror.example/a&b,c", ""])
def test_debians_packages_come_from_the_mirrors_that_are_set(tmp_path: Path, sources: str, own: str, said: str) -> None:
    """That of security updates is beside the other unless it is said, as of FATE's images."""
    file = tmp_path / "apt/sources.list.d" / ("debian.sources" if "URIs" in sources else "debian.list")
    file.parent.mkdir(parents=True)
    file.write_text(sources.format(debian="http://deb.debian.org/debian", security=own))
    asked = tmp_path / "apt-get"
    asked.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    asked.chmod(0o755)
    script = (DEPLOY / "apt.sh").read_text(encoding="utf-8")
    for there, here in {"/etc/apt": tmp_path / "apt", "/run/apt.conf": tmp_path / "apt.conf"}.items():
        assert there in script
        script = script.replace(there, str(here))
    mirrors = {"APT_MIRROR": "https://mirror.example/debian/", "APT_SECURITY_MIRROR": said}
    environ = {**mirrors, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(
        ["sh", "-c", script.replace("rm -rf /var/lib/apt/lists/*", "rm -f"), "sh", "install", "git"],
        env=environ,
        check=True,
    )
    assert file.read_text() == sources.format(
        debian="https://mirror.example/debian", security=said or "https://mirror.example/debian-security"
    )
    assert (tmp_path / "asked").read_text() == "update\n--yes --no-install-recommends install git\n"
