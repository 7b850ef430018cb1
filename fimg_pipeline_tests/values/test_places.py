"""Paths, URLs, refs and engines, and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.settings import SettingsError
from fimg_pipeline_tests.values.settings import settings


@pytest.mark.parametrize("value", ["~nosuchuser/x", f"/tmp/{'x' * 300}"])
@pytest.mark.parametrize("name", ["FATE_DIR", "FIMG_HOME", "IPCL_PKG_DIR", "CA_BUNDLE", "PYTHON_PREFIX"])
def test_paths_no_machine_has(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        settings(tmp_path, **{name: value})


@pytest.mark.parametrize(
    "address",
    [
        "ssh://-oProxyCommand=x",
        "ssh://u:secret@host",
        "tcp://host",
        "host:2375",
        "unix://relative",
        "ssh://a b",
        "npipe:x",
    ],
)
def test_what_is_no_engines_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(SettingsError, match=r"DOCKER_HOST_AMD64=.*must be unix:///PATH, tcp://HOST:PORT or ssh://"):
        settings(tmp_path, DOCKER_HOST_AMD64=address)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FATE_LLM_URL", "-abc@host:p"),
        ("FATE_LLM_URL", "a@-host:p"),
        ("FATE_LLM_URL", "git@host:../../x"),
        ("GIT_MIRROR", "a@h:.."),
        ("IPCL_URL", f"a@h:{'x' * 5000}"),
        ("CUDA_APT_REPOSITORY", "https://h/../x /"),
        ("CUDA_APT_REPOSITORY", "https://h/x ../.."),
        ("CUDA_APT_REPOSITORY", "https://h/x -o"),
        ("CUDA_APT_REPOSITORY", f"https://h/{'x' * 5000} /"),
        ("HTTP_PROXY", "http://a b;rm"),
        ("no_proxy", "$(id)"),
        ("NO_PROXY", "--foo"),
        ("APT_MIRROR", "https://host.example/../../x"),
        ("APT_MIRROR", "ssh://h/x"),
        ("APT_MIRROR", "http:///debian"),
        ("APT_MIRROR", "http://h:99999/debian"),
        ("APT_MIRROR", "http://h:port/debian"),
        ("APT_MIRROR", "http://-x/debian"),
        ("APT_MIRROR", "http://h:0/debian"),
        ("APT_MIRROR", "https://user:secr/et@host/debian"),
        ("APT_MIRROR", "https://user:123/45@host/debian"),
        ("APT_MIRROR", "https://user:sec%22ret@host/debian"),
        ("APT_MIRROR", "https://us%27er:secret@host/debian"),
        ("APT_MIRROR", "https://user:sec%2Fret@host/debian"),
        ("PIP_INDEX_URL", "git://h/x"),
        ("NPM_CONFIG_REGISTRY", "file:///etc"),
        ("MAVEN_MIRROR", "ssh://h"),
        ("CUDA_APT_REPOSITORY", "http://cuda.example/repos /"),
        ("CUDA_APT_REPOSITORY", "http://8.8.8.8/repos /"),
        ("CUDA_APT_REPOSITORY", "http://169.254.169.254/repos /"),
    ],
)
def test_places_that_there_can_not_be(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        settings(tmp_path, **{name: value})
