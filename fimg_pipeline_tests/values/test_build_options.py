"""Options of builds: split like a shell does, and only those that may be set."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.settings import SettingsError
from fimg_pipeline_tests.values.settings import settings


def test_docker_options_are_split_like_a_shell_does(tmp_path: Path) -> None:
    found = settings(tmp_path, Docker_Options="--no-cache --build-arg 'A=b c' --add-host=x:1.2.3.4")
    assert found.docker_options == ("--no-cache", "--build-arg=A=b c", "--add-host=x:1.2.3.4")
    assert found.no_cache and not found.as_built.no_cache
    assert found.as_built.docker_options == found.docker_options[1:]


@pytest.mark.parametrize(
    "value",
    [
        "--no-cache; rm -rf /",
        "$(id)",
        "--tag=x",
        "-t x",
        "--output=/",
        "--platform=linux/arm64",
        "--file=/etc/passwd",
        "--secret=id=x,src=/etc/shadow",
        "-",
        ".",
        "'unclosed",
        "--build-arg",
        "--build-arg PARENT=evil",
        "--no-cache=yes",
        "--network --no-cache",
        "--build-arg SOURCE_DATE=2020-01-01",
        "--label io.fimg.fingerprint=x",
        "--label=org.opencontainers.image.revision=x",
        "--no-cache --shm-size=zzz",
        "--add-host=foo",
        "'--build-arg =x'",
        "--build-arg 1X=y",
        "--network=bogus",
        "--ulimit=nofile",
        "--cache-from=-x",
        f"--label=a={'x' * 20_000}",
        "--build-arg BUILDKIT_SYNTAX=evil.invalid/x",
    ],
)
def test_docker_options_that_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^Docker_Options="):
        settings(tmp_path, Docker_Options=value)
