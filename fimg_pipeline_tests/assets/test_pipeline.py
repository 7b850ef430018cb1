"""What the configuration of a run may change, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.assets.images import IMAGE_ASSETS
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.catalog.images import IMAGES, unbuildable_reason
from fimg_pipeline.catalog.platforms import PLATFORMS


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"PREFIX": "registry.example/fate", "REGISTRY_USER": "robot", "REGISTRY_PASSWORD": "s3cret"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("login")
@pytest.mark.parametrize(
    "overrides",
    [
        {"PREFIX": "127.0.0.1:5594/x"},
        {"PREFIX": "federatedai"},
        {"INSECURE_REGISTRIES": "registry.example"},
        {"REGISTRY_USER": "somebody"},
    ],
)
def test_whoever_configures_a_run_gets_no_password_by_it(overrides: dict[str, str]) -> None:
    """Anybody who reaches the web UI may launch one."""
    found = Pipeline(overrides=overrides).settings(TAG="t")
    assert (found.registry_user, found.registry_password) == (None, None)


@pytest.mark.usefixtures("login")
def test_a_login_is_for_the_registry_of_the_environment() -> None:
    for overrides in ({}, {"PREFIX": "registry.example/other"}, {"TAG": "x"}):
        found = Pipeline(overrides=overrides).settings(Platform="arm64")
        assert (found.registry_user, found.registry_password) == ("robot", "s3cret")


def test_every_image_says_on_which_platform_it_can_t_be_had() -> None:
    """Also for what it stands on."""
    for asset in IMAGE_ASSETS:
        (key,) = asset.keys
        name, described = key.path[-1], asset.descriptions_by_key[key]
        for platform in PLATFORMS:
            reason = unbuildable_reason(name, platform)
            assert (f"can't be built for {platform}: {reason}" in described) == (reason is not None)
    assert len(IMAGE_ASSETS) == len(IMAGES)
