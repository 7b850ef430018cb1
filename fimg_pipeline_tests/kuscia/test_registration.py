"""``fimg register`` on nodes with real containerd and kube-apiserver: what it says is so is so on every node."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from fimg_pipeline_tests.kuscia.registering import DOMAINS, Images, Register, lites, unique
from fimg_pipeline_tests.rig.command import FIMG
from fimg_pipeline_tests.rig.kuscia import Kuscia

pytestmark = pytest.mark.engine


def test_center(center: Kuscia, register: Register, images: Images) -> None:
    name = f"federatedai/{unique()}:v1"
    image_id = images.make(name)
    output = register.succeeds(center, "center", name)
    lines = output.splitlines()
    assert lines[0] == f"=> register app image: {name}"
    assert lines[-1] == f"=> app_image_name: {name.partition('/')[2].replace(':', '-')}"
    app_image = center.nodes["master"].app_image(lines[-1].rpartition(" ")[2])
    assert app_image["spec"]["image"] == {"name": f"docker.io/{name[:-3]}", "tag": "v1"}
    for node in lites(center):
        assert node.image_id(f"docker.io/{name}") == image_id
    assert "kuscia image" not in output and ": imported sha256:" in output and "AppImage created" in output
    again = register.succeeds(center, "center", name)
    assert again.count(": has sha256:") == 2 and "AppImage unchanged" in again


def test_p2p(p2p: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    output = register.succeeds(p2p, "p2p", name, "-n", "some-app")
    assert output.count("AppImage created") == 2
    for node in p2p.nodes.values():
        assert node.image_id(name) == image_id
        assert node.app_image("some-app")["spec"]["image"]["name"] == name[:-3]
    images.make(name)
    assert register.succeeds(p2p, "p2p", name, "-n", "some-app").count("AppImage unchanged") == 2


#: As Kuscia 0.5 to 0.10 have it: of the same name and flags, for another runtime, and not for streams.
OLDER = """#!/bin/sh
[ "$1" = --version ] && echo "kuscia version v0.10.0b0" && exit 0
cat > /dev/null
echo "seek /dev/stdin: illegal seek" >&2
exit 1
"""


@pytest.mark.parametrize("older", [OLDER, OLDER.replace("kuscia v", "2026.11.27 WARN no config; kuscia v"), ""])
def test_nodes_of_before_kuscia_0_11_import_with_ctr(
    center: Kuscia, register: Register, images: Images, older: str
) -> None:
    node = center.nodes["lite-alice"]
    node.execute("mv /usr/local/bin/kuscia /root/")
    if older:
        node.execute(f"printf '%s' '{older}' > /usr/local/bin/kuscia; chmod +x /usr/local/bin/kuscia")
    try:
        name = f"reg.example/{unique()}:v1"
        image_id = images.make(name)
        register.succeeds(center, "center", name)
        assert [node.image_id(name) for node in lites(center)] == [image_id, image_id]
    finally:
        node.execute("mv /root/kuscia /usr/local/bin/")


def test_eleven_lites(center: Kuscia, register: Register, images: Images) -> None:
    """The shell tool's counter is a text: it stops after the second domain."""
    more = center.start("lite", [f"lite-d{number}" for number in range(9)])
    try:
        name = f"reg.example/{unique()}:v1"
        image_id = images.make(name)
        domains = ",".join([*DOMAINS, *(f"d{number}" for number in range(9))])
        output = register.succeeds(center, "center", name, "-d", domains)
        assert output.count(": imported") == 11
        assert {node.image_id(name) for node in lites(center)} == {image_id}
    finally:
        for node in more:
            node.container.remove(force=True, v=True)
            del center.nodes[node.name.removeprefix(f"{center.user}-kuscia-")]


def test_containers_called_otherwise(center: Kuscia, register: Register, images: Images) -> None:
    (node,) = center.start("lite", ["lite-cxc-carol"])
    try:
        name = f"reg.example/{unique()}:v1"
        image_id = images.make(name)
        refused = register(center, "center", name, "-d", "carol")
        assert refused.status == 1 and f"no container {center.user}-kuscia-lite-carol" in refused.output
        register.succeeds(center, "center", name, "-d", "carol", "--container", f"carol={node.name}")
        assert node.image_id(name) == image_id
    finally:
        node.container.remove(force=True, v=True)
        del center.nodes["lite-cxc-carol"]


def test_usage(register: Register) -> None:
    def ended(*arguments: str) -> Any:
        done = subprocess.run([FIMG, "register", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert ended("-h")[0] == 0
    for arguments in ((), ("-m", "center"), ("-i", "a:1"), ("-m", "both", "-i", "a:1"), ("-x",)):
        status, output = ended(*arguments)
        assert status == 2 and "Usage: fimg register" in output, output
