"""Names as registries take them, and those that nobody would."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.settings import SettingsError
from fimg_pipeline_tests.values.settings import settings


@pytest.mark.parametrize("prefix", ["federatedai", "10.0.0.5:5000/federatedai", "localhost:5000/a/b", "harbor.x.org/a"])
def test_prefixes_that_registries_have(tmp_path: Path, prefix: str) -> None:
    assert settings(tmp_path, PREFIX=prefix).prefix == prefix


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("docker.io/a", "a"), ("index.docker.io/a/b", "a/b"), ("harbor.x.org/docker.io", "harbor.x.org/docker.io")],
)
def test_prefixes_are_what_the_engine_makes_of_them(tmp_path: Path, prefix: str, name: str) -> None:
    assert settings(tmp_path, PREFIX=prefix).prefix == name


def test_reserved_namespace(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must not be localhost/fimg"):
        settings(tmp_path, PREFIX="localhost/fimg/image")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFIX", "Foo/bar"),
        ("PREFIX", "host:99999/x"),
        ("PREFIX", "host:0/x"),
        ("PREFIX", "library"),
        ("PREFIX", "docker.io/library"),
        ("PREFIX", "docker.io/docker.io/library"),
        ("PREFIX", "docker.io"),
        ("PREFIX", "index.docker.io"),
        ("DOCKER_HUB_MIRROR", "foo"),
        ("DOCKER_HUB_MIRROR", "foo.example:0"),
    ],
)
def test_names_that_docker_would_refuse_later(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        settings(tmp_path, **{name: value})
