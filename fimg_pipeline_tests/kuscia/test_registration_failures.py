"""What must not happen: success said of what is not so, an AppImage without its image, half of anything."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from fimg_pipeline.kuscia import templates
from fimg_pipeline_tests.kuscia.registering import Images, Register, lites, replace_loader, unique, untouched
from fimg_pipeline_tests.rig.faults import between
from fimg_pipeline_tests.rig.kuscia import CTR, Kuscia
from fimg_pipeline_tests.rig.registry import registry

pytestmark = pytest.mark.engine


def test_a_domain_that_begins_like_another_is_another(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    result = register(center, "center", name, "-d", "ali")
    assert result.status == 1 and f"no container {center.user}-kuscia-lite-ali\n" in result.output
    untouched(center, name)


def test_a_domain_that_is_missing_or_stopped_fails_before_anything(
    center: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    result = register(center, "center", name, "-d", "alice,nobody,noone,bob")
    assert result.status == 1 and "lite-nobody" in result.output and "lite-noone" in result.output
    untouched(center, name)
    node = center.nodes["lite-bob"].container
    node.pause()
    try:
        result = register(center, "center", name)
        assert result.status == 1 and f"container {node.name} is paused" in result.output
    finally:
        node.unpause()
    untouched(center, name)


def test_another_architecture_is_refused_before_anything_is_sent(
    center: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name, architecture="arm64")
    result = register(center, "center", name)
    assert result.status == 1 and "is an image for linux/arm64, and the nodes are linux/amd64" in result.output
    untouched(center, name)


def test_a_template_the_server_refuses_is_known_before_anything_is_sent(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    template = tmp_path / "template.yaml"
    template.write_text(
        templates.shipped("general").text.replace("metadata:\n", "metadata:\n  labels: {of: what is no label}\n")
    )
    result = register(center, "center", name, "-f", str(template))
    assert result.status == 1 and "what is no label" in result.output, result.output
    untouched(center, name)


def test_an_api_server_that_does_not_answer_is_known_before_anything_is_sent(
    p2p: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    bob = p2p.nodes["autonomy-bob"]
    bob.execute("mv /rig/kubeconfig /rig/away")
    try:
        result = register(p2p, "p2p", name)
        assert result.status == 1 and f"{bob.name}: kubectl create" in result.output
        assert not any(name in node.images() for node in p2p.nodes.values())
    finally:
        bob.execute("mv /rig/away /rig/kubeconfig")


def test_a_node_that_says_it_has_imported_is_not_believed(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    bob = center.nodes["lite-bob"]
    replace_loader(bob, "cat > /dev/null; echo WARN filtered out")
    try:
        result = register(center, "center", name, "-n", "not-believed")
        assert result.status == 1, result.output
        assert f"{bob.name}: the import ended well, and there is no such image: WARN filtered out" in result.output
        assert f"the image is now in {center.user}-kuscia-lite-alice; the AppImage in none" in result.output
    finally:
        bob.execute("mv /root/kuscia /usr/local/bin/kuscia")
    assert "not-believed" not in str(center.nodes["master"].app_images())
    output = register.succeeds(center, "center", name, "-n", "not-believed")
    assert output.count(": imported") == 1 and output.count(": has ") == 1, "a rerun completes it"
    assert bob.image_id(name) == image_id


def test_a_node_whose_disk_is_full_is_named_and_holds_up_no_other(
    center: Kuscia, register: Register, images: Images
) -> None:
    (node,) = center.start("lite", ["lite-carol"], disk="10m")
    try:
        name = f"reg.example/{unique()}:v1"
        image_id = images.make(name, size=30_000_000)
        result = register(center, "center", name, "-d", "alice,carol")
        assert result.status == 1, result.output
        assert f"{node.name}: import: it ended with 1:" in result.output
        assert "no space left on device" in result.output
        assert "(Kuscia leaves its copy of the archive in /tmp there)" in result.output
        assert f"the image is now in {center.user}-kuscia-lite-alice; the AppImage in none" in result.output
        assert center.nodes["lite-alice"].image_id(name) == image_id
    finally:
        node.container.remove(force=True, v=True)
        del center.nodes["lite-carol"]


def test_a_listed_image_that_is_not_complete_is_imported_again(
    center: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    register.succeeds(center, "center", name)
    bob = center.nodes["lite-bob"]
    manifest = bob.execute(f"{CTR} images ls name=={name} | awk 'END {{print $3}}'").strip()
    layers = bob.execute(f"{CTR} content get {manifest} | grep -o 'sha256:[0-9a-f]*'").split()[1:]
    bob.execute(f"{CTR} content rm {layers[0]}")
    assert name in bob.images()
    output = register.succeeds(center, "center", name)
    assert f"{bob.name}: imported" in output and output.count(": imported") == 1
    assert bob.image_id(name) == image_id
    assert "complete (3/3)" in bob.execute(f"{CTR} images check name=={name}")


def test_the_same_tag_of_another_image_is_replaced(center: Kuscia, register: Register, images: Images) -> None:
    """Whatever a run that failed left behind, in a folder of its own or on a node."""
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    register.succeeds(center, "center", name)
    newer = images.make(name)
    output = register.succeeds(center, "center", name)
    assert output.count("has another image under that name") == 2
    assert {node.image_id(name) for node in lites(center)} == {newer}


def test_an_earlier_app_image_is_told_when_its_images_could_not_all_be_replaced(
    center: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name).split()[-1]
    images.make(name)
    bob = center.nodes["lite-bob"]
    replace_loader(bob, "cat > /dev/null; exit 1")
    try:
        result = register(center, "center", name)
    finally:
        bob.execute("mv /root/kuscia /usr/local/bin/kuscia")
    assert result.status == 1, result.output
    assert f"an earlier AppImage {app_image} is still in {center.user}-kuscia-master" in result.output


@pytest.mark.parametrize("answer", ["REF\\nfoo", "[]", ""])
def test_a_node_that_answers_something_else_is_named(
    center: Kuscia, register: Register, images: Images, answer: str
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    bob = center.nodes["lite-bob"]
    bob.execute(
        f"mv /usr/bin/ctr /root/ctr; printf '#!/bin/sh\\nprintf \"{answer}\"\\n' > /usr/bin/ctr; chmod +x /usr/bin/ctr"
    )
    try:
        result = register(center, "center", name)
    finally:
        bob.execute("mv /root/ctr /usr/bin/ctr")
    assert result.status == 1 and f"{bob.name} did not say which images it has" in result.output, result.output
    assert "Traceback" not in result.output


def test_two_at_once(center: Kuscia, register: Register, images: Images, tmp_path: Path) -> None:
    names = [f"reg.example/{unique()}:v1" for _ in range(2)]
    ids = [images.make(name, size=2_000_000) for name in names]
    other = Register(tmp_path / "other")
    started = [
        (register.start if place % 2 else other.start)(center, "center", names[place // 2]) for place in range(4)
    ]
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    for name, image_id in zip(names, ids, strict=True):
        assert {node.image_id(name) for node in lites(center)} == {image_id}


@pytest.mark.parametrize(
    ("moment", "delay", "how"),
    [
        ("template:", 0, signal.SIGKILL),
        ("importing", 0.1, signal.SIGKILL),
        ("importing", 0.1, signal.SIGINT),
        ("importing", 0.1, signal.SIGTERM),
        (": imported", 0, signal.SIGKILL),
    ],
)
def test_stopped_in_the_middle_and_run_again(
    p2p: Kuscia, register: Register, images: Images, moment: str, delay: float, how: signal.Signals
) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name, size=60_000_000)
    app_image = name.partition("/")[2].replace(":", "-")
    process = register.start(p2p, "p2p", name)
    assert process.stdout is not None
    for line in process.stdout:
        if moment in line:
            break
    time.sleep(delay)
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    # Applying is quick: it may have come too late.
    assert process.returncode != 0 or "=> app_image_name:" in output, output
    assert "Traceback" not in output, output
    for node in p2p.nodes.values():
        if any(app_image in found for found in node.app_images()):
            assert all(each.image_id(name) == image_id for each in p2p.nodes.values()), "an AppImage without its image"
    register.succeeds(p2p, "p2p", name)
    for node in p2p.nodes.values():
        assert node.image_id(name) == image_id
        assert node.app_image(app_image)["spec"]["image"]["tag"] == "v1"


def test_nothing_of_a_run_that_was_stopped_is_taken_for_another_image_of_its_tag(
    p2p: Kuscia, register: Register, images: Images
) -> None:
    """The shell tool finds the archive that such a run left, and imports that under the new image's name."""
    name = f"reg.example/{unique()}:v1"
    images.make(name, size=60_000_000)
    process = register.start(p2p, "p2p", name)
    assert process.stdout is not None
    for line in process.stdout:
        if "importing" in line:
            break
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    newer = images.make(name)
    register.succeeds(p2p, "p2p", name)
    assert {node.image_id(name) for node in p2p.nodes.values()} == {newer}


def test_stopped_while_it_pulls_and_run_again(p2p: Kuscia, register: Register, images: Images) -> None:
    own = unique()
    image_id = images.make(f"{own}:wanted")
    with registry() as hub, between(hub.name) as slow:
        hub.push(f"{own}:wanted", f"a/{own}", "v1")
        images.engine.remove(f"{own}:wanted")
        slow.latency = 2.0
        name = f"{slow.name}/a/{own}:v1"
        process = register.start(p2p, "p2p", name)
        while not any("/manifests/" in path for _, path in slow.seen):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        assert not any(name in node.images() for node in p2p.nodes.values()), output
        slow.latency = 0.0
        images.names.append(name)
        register.succeeds(p2p, "p2p", name)
    assert {node.image_id(name) for node in p2p.nodes.values()} == {image_id}
