"""Which containers are the nodes of a deployment."""

from __future__ import annotations

import pytest

from fimg_pipeline.kuscia.deployment import Deployment, DeploymentError, Mode, domains_of


def test_lites_take_images_and_the_master_takes_app_images() -> None:
    deployment = Deployment(Mode.CENTER, "root", ("alice", "bob"))
    assert deployment.image_nodes == ("root-kuscia-lite-alice", "root-kuscia-lite-bob")
    assert deployment.api_nodes == ("root-kuscia-master",)


def test_autonomies_take_both() -> None:
    deployment = Deployment(Mode.P2P, "root", ("alice", "bob"))
    assert deployment.image_nodes == ("root-kuscia-autonomy-alice", "root-kuscia-autonomy-bob")
    assert deployment.api_nodes == deployment.image_nodes


def test_containers_that_are_called_otherwise() -> None:
    named = {"alice": "root-kuscia-lite-cxc-alice", "master": "head"}
    deployment = Deployment(Mode.CENTER, "root", ("alice", "bob"), named)
    assert deployment.image_nodes == ("root-kuscia-lite-cxc-alice", "root-kuscia-lite-bob")
    assert deployment.api_nodes == ("head",)


@pytest.mark.parametrize(
    ("mode", "user", "domains", "containers", "told"),
    [
        (Mode.CENTER, "", ("alice",), {}, "user ''"),
        (Mode.CENTER, "a b", ("alice",), {}, "user 'a b'"),
        (Mode.CENTER, "root", ("-alice",), {}, "domain '-alice'"),
        (Mode.CENTER, "root", ("alice;id",), {}, "domain 'alice;id'"),
        (Mode.CENTER, "root", (), {}, "no domain"),
        (Mode.CENTER, "root", ("alice", "bob", "alice"), {}, "alice is named twice"),
        (Mode.CENTER, "root", ("alice",), {"alice": "--privileged"}, "container of alice"),
        (Mode.CENTER, "root", ("alice",), {"bob": "x"}, "for bob"),
        (Mode.P2P, "root", ("alice",), {"master": "x"}, "for master"),
        (Mode.P2P, "root", ("alice", "bob"), {"alice": "x", "bob": "x"}, "x is named for two nodes"),
        (Mode.CENTER, "root", ("alice",), {"alice": "x", "master": "x"}, "x is named for two nodes"),
    ],
)
def test_what_is_wrong_is_named(
    mode: Mode, user: str, domains: tuple[str, ...], containers: dict[str, str], told: str
) -> None:
    with pytest.raises(DeploymentError, match=told):
        Deployment(mode, user, domains, containers)


def test_lists_of_domains() -> None:
    assert domains_of("alice, bob,,carol ") == ("alice", "bob", "carol")
