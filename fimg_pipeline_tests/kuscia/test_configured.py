"""The file of AppImages that runs register: what it may say, and how what is wrong is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.configured import read
from fimg_pipeline.kuscia.deployment import Deployment, Mode


def written(folder: Path, text: str) -> Path:
    file = folder / "app-images.yaml"
    file.write_text(text)
    return file


def test_as_the_flags_of_register(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("the template")
    file = written(
        tmp_path,
        """
        app_images:
          - {image: fateflow, mode: p2p, user: root}
          - image: client
            platform: arm64
            name: fate-client
            template: own.yaml
            mode: center
            user: kuscia
            domains: [alice]
            containers: {alice: lite-1, master: head}
            pin: true
            sign: none
        """,
    )
    plain, full = read(file)
    assert plain.platform == "amd64"
    assert plain.deployment == Deployment(Mode.P2P, "root", ("alice", "bob"))
    request = full.request("federatedai/client:1.11.2-release", tmp_path)
    assert str(request.image) == "docker.io/federatedai/client:1.11.2-release"
    assert request.app_image == "fate-client" and (request.pin, request.sign) == (True, "none")
    assert request.template is not None and request.template.text == "the template"
    assert request.deployment.image_nodes == ("lite-1",) and request.deployment.api_nodes == ("head",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it must be a mapping"),
        ("a: [", "no YAML"),
        ("app_images: []", "app_images must have at least 1 item"),
        ("app_images: 7", "app_images must be a list"),
        ("app_images: [{image: nginx, user: x}]", r"app_images\[0\]\.mode is missing"),
        ("app_images: [{image: nginx, mode: both, user: x}]", r"app_images\[0\]\.mode must be 'center' or 'p2p'"),
        ("app_images: [{image: nginx, mode: p2p, user: x, colour: red}]", r"app_images\[0\]\.colour is not known here"),
        (
            "app_images: [{image: nginx, mode: p2p, user: x, platform: s390x}]",
            r"app_images\[0\]\.platform must be 'amd64' or 'arm64'",
        ),
        ("app_images: [{image: nginx, mode: p2p, user: x, pin: 'yes'}]", r"app_images\[0\]\.pin must be true or false"),
        ("app_images: [{image: ngin, mode: p2p, user: x}]", "no image is called ngin"),
        ("app_images: [{image: nginx, mode: p2p, user: a b}]", r"app_images\[0\]: user 'a b'"),
        ("app_images: [{image: nginx, mode: p2p, user: x, name: A}]", r"app_images\[0\]: AppImage name 'A'"),
        (
            "app_images: [{image: nginx, mode: p2p, user: x}, {image: nginx, mode: p2p, user: x}]",
            r"app_images\[1\]: nginx is registered in x-kuscia-autonomy-alice twice",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FimgError, match=told):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FimgError, match="can't be read: No such file"):
        read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("mode: p2p, user: x", "mode: p2p, user: x, domains: [bob, alice]", True),
        ("mode: p2p, user: x", "mode: p2p, user: x, domains: [alice, bob, carol], pin: true", True),
        ("mode: p2p, user: x", "mode: p2p, user: x, name: nginx-t", True),
        ("mode: p2p, user: x", "mode: p2p, user: x, name: other", False),
        ("mode: p2p, user: x", "mode: p2p, user: z", False),
        ("mode: p2p, user: x", "mode: p2p, user: x, domains: [carol]", False),
        ("mode: p2p, user: x", "mode: center, user: x", False),
        ("mode: center, user: x", "mode: center, user: x, domains: [carol]", True),
        ("mode: center, user: x", "mode: center, user: x, platform: arm64", False),
    ],
)
def test_which_one_it_was_before(tmp_path: Path, before: str, now: str, same: bool) -> None:
    """As far as it is on the same servers under the same name, whatever else is said of it."""
    (was,) = read(written(tmp_path, f"app_images: [{{image: nginx, {before}}}]"))
    (found,) = read(written(tmp_path, f"app_images: [{{image: nginx, {now}}}]"))
    assert found.is_of(was, "nginx-t") is same
