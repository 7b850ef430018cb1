"""``fimg register`` on nodes with real containerd and kube-apiserver: what it says is so is so on every node."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.kuscia import templates
from fimg_pipeline_tests.rig.command import FIMG, Result, environment
from fimg_pipeline_tests.rig.kuscia import CTR, Kuscia, KusciaNode, kuscia
from fimg_pipeline_tests.rig.registry import registry
from fimg_pipeline_tests.ship.archives import Image, layer, saved_by_old_engine

pytestmark = pytest.mark.engine

DOMAINS = ("alice", "bob")


@pytest.fixture(scope="module")
def center() -> Iterator[Kuscia]:
    """A master, and lites of two domains."""
    with kuscia() as rig:
        rig.start("master", ["master"])
        rig.start("lite", [f"lite-{domain}" for domain in DOMAINS])
        yield rig


@pytest.fixture(scope="module")
def p2p() -> Iterator[Kuscia]:
    """Two autonomies."""
    with kuscia() as rig:
        rig.start("autonomy", [f"autonomy-{domain}" for domain in DOMAINS])
        yield rig


@dataclass(frozen=True)
class Register:
    """``fimg register`` as a script runs it, without a terminal."""

    home: Path

    def __call__(self, rig: Kuscia, mode: str, image: str, *more: str) -> Result:
        done = subprocess.run(
            self._command(rig, mode, image, *more),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        return Result(done.returncode, done.stdout)

    def start(self, rig: Kuscia, mode: str, image: str, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(rig, mode, image, *more),
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def succeeds(self, rig: Kuscia, mode: str, image: str, *more: str) -> str:
        result = self(rig, mode, image, *more)
        assert result.status == 0, result.output
        return result.output

    def _command(self, rig: Kuscia, mode: str, image: str, *more: str) -> list[str]:
        return [FIMG, "register", "-u", rig.user, "-m", mode, "-i", image, *more]

    @property
    def _environment(self) -> dict[str, str]:
        return {**environment(), "FIMG_HOME": str(self.home)}


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(tmp_path / "home")


@dataclass(frozen=True)
class Images:
    """Images of a few bytes, put into the engine under names of their own."""

    engine: Engine
    names: list[str]

    def make(
        self, name: str, *, size: int = 20_000, architecture: str = "amd64", files: dict[str, str] | None = None
    ) -> str:
        """Gives ``name`` to a new image, as a build does; its id."""
        image = Image((layer(uuid.uuid4().hex, 2000), _noise(size, files or {})), uuid.uuid4().hex, architecture)
        self.engine.sdk.images.load(saved_by_old_engine([image]))
        self.engine.tag(image.image_id, name)
        self.names.append(name)
        return image.image_id


def _noise(size: int, files: dict[str, str]) -> bytes:
    """A layer that does not shrink, with ``files`` of text."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in {
            "noise": os.urandom(size),
            **{name: text.encode() for name, text in files.items()},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def images(engine: Engine) -> Iterator[Images]:
    made = Images(engine, [])
    yield made
    for name in dict.fromkeys(made.names):
        engine.remove(name)


def unique(name: str = "image") -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def lites(rig: Kuscia) -> list[KusciaNode]:
    return [node for name, node in rig.nodes.items() if name.startswith("lite-")]


# -- what it is for ----------------------------------------------------------------------------------------------------


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


def test_nodes_of_before_kuscia_0_11_import_with_ctr(center: Kuscia, register: Register, images: Images) -> None:
    node = center.nodes["lite-alice"]
    node.execute("mv /usr/local/bin/kuscia /root/")
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


# -- references, names, templates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["2.0", "null"])
def test_a_tag_that_looks_like_something_else_stays_text(
    center: Kuscia, register: Register, images: Images, tag: str
) -> None:
    name = f"reg.example/{unique()}:{tag}"
    images.make(name)
    register.succeeds(center, "center", name, "-n", f"tag-{hashlib.sha256(tag.encode()).hexdigest()[:8]}")
    app_image = center.nodes["master"].app_image(f"tag-{hashlib.sha256(tag.encode()).hexdigest()[:8]}")
    assert app_image["spec"]["image"]["tag"] == tag


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("host:5000/a/NAME:v9", "host:5000/a/NAME:v9"),
        ("reg.io/NAME:v1", "reg.io/NAME:v1"),
        ("NAME", "docker.io/library/NAME:latest"),
    ],
)
def test_the_app_image_names_what_the_nodes_have(
    center: Kuscia, register: Register, images: Images, given: str, known: str
) -> None:
    own = unique()
    given, known = given.replace("NAME", own), known.replace("NAME", own)
    image_id = images.make(given if ":" in given.rpartition("/")[2] else f"{given}:latest")
    output = register.succeeds(center, "center", given)
    image = center.nodes["master"].app_image(output.split()[-1])["spec"]["image"]
    assert f"{image['name']}:{image['tag']}" == known
    assert {node.image_id(known) for node in lites(center)} == {image_id}


def test_names_that_kubernetes_would_refuse(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique('a_b.c')}:V1_{'x' * 80}"
    images.make(name)
    generated = register.succeeds(center, "center", name).split()[-1]
    assert len(generated) <= 63 and generated.islower() and "_" not in generated
    assert center.nodes["master"].app_image(generated)["spec"]["image"]["tag"] == name.rpartition(":")[2]
    refused = register(center, "center", name, "-n", "My_App")
    assert refused.status == 1 and "'My_App'" in refused.output


def test_what_sed_would_take_for_its_own_stays(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    text = 'a!b & c\\1 "{{.TASK_ID}}" {{{.ALLOCATED_PORTS}}} $HOME `id`'
    template = tmp_path / "template.yaml"
    template.write_text(
        templates.shipped("general").text.replace(
            "    task.conf: |\n", f"    other: |\n      {text}\n    task.conf: |\n"
        )
    )
    app_image = register.succeeds(center, "center", name, "-f", str(template)).split()[-1]
    found = center.nodes["master"].app_image(app_image)["spec"]["configTemplates"]
    assert found["other"] == f"{text}\n" and '"{{.TASK_ID}}"' in found["task.conf"]


def test_an_image_brings_its_own_template(center: Kuscia, register: Register, images: Images) -> None:
    own = templates.shipped("general").text.replace("name: main", "name: of-the-image")
    name = f"reg.example/{unique()}:v1"
    images.make(name, files={"kuscia/app_image.yaml": own})
    output = register.succeeds(center, "center", name)
    (template,) = center.nodes["master"].app_image(output.split()[-1])["spec"]["deployTemplates"]
    assert template["name"] == "of-the-image" and "/kuscia/app_image.yaml of the image" in output
    register.succeeds(center, "center", name, "-f", "fateflow")
    (template,) = center.nodes["master"].app_image(output.split()[-1])["spec"]["deployTemplates"]
    assert template["name"] == "fateflow"


def test_id_and_signature(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    output = register.succeeds(center, "center", name, "--pin", "--sign", "none")
    image = center.nodes["master"].app_image(output.split()[-1])["spec"]["image"]
    assert (image["id"], image["sign"]) == (image_id, "none")


# -- what must not happen ----------------------------------------------------------------------------------------------


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


def untouched(rig: Kuscia, name: str) -> None:
    assert not any(name in node.images() for node in lites(rig))
    assert not any(name.partition("/")[2].replace(":", "-") in found for found in rig.nodes["master"].app_images())


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
        assert result.status == 1 and f"{bob.name}: kubectl apply" in result.output
        assert not any(name in node.images() for node in p2p.nodes.values())
    finally:
        bob.execute("mv /rig/away /rig/kubeconfig")


def replace_loader(node: KusciaNode, script: str) -> None:
    """Has the node run ``script`` instead of ``kuscia image load``; what was there is in /root."""
    head = '#!/bin/sh\\n[ "$3" = --help ] && exec /root/kuscia "$@"\\n'
    node.execute(f"cp /usr/local/bin/kuscia /root/; printf '{head}{script}\\n' > /usr/local/bin/kuscia")


def test_a_node_that_says_it_has_imported_is_not_believed(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    bob = center.nodes["lite-bob"]
    replace_loader(bob, "cat > /dev/null")
    try:
        result = register(center, "center", name, "-n", "not-believed")
        assert result.status == 1, result.output
        assert f"{bob.name}: the import ended well, and there is no such image" in result.output
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
        assert f"the image is now in {center.user}-kuscia-lite-alice; the AppImage in none" in result.output
        assert center.nodes["lite-alice"].image_id(name) == image_id
    finally:
        node.container.remove(force=True, v=True)
        del center.nodes["lite-carol"]


def test_what_is_not_here_is_pulled_and_a_digest_is_held_to(
    center: Kuscia, register: Register, images: Images, engine: Engine
) -> None:
    own = unique()
    wanted = images.make(f"{own}:wanted")
    with registry() as hub:
        name = f"{hub.name}/a/{own}:v1"
        digest = hub.push(f"{own}:wanted", f"a/{own}", "v1")
        engine.remove(f"{own}:wanted")
        register.succeeds(center, "center", name)
        assert {node.image_id(name) for node in lites(center)} == {wanted}
        # The name is another image's by now, here and on the nodes.
        images.make(name)
        register.succeeds(center, "center", name)
        assert {node.image_id(name) for node in lites(center)} != {wanted}
        output = register.succeeds(center, "center", f"{name}@{digest}")
        assert {node.image_id(name) for node in lites(center)} == {wanted}
        assert center.nodes["master"].app_image(output.split()[-1])["spec"]["image"]["tag"] == "v1"
        absent = register(center, "center", f"{hub.name}/a/none:v1")
        assert absent.status == 1 and "is not on the engine" in absent.output, absent.output
    refused = register(center, "center", f"{own}@{digest}")
    assert refused.status == 1 and "has a digest and no tag" in refused.output


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


def test_what_others_have_put_into_the_app_image_is_taken_out(
    center: Kuscia, register: Register, images: Images
) -> None:
    """An id of another image, as older tools leave it, would have every node refuse what is registered."""
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name).split()[-1]
    master = center.nodes["master"]
    foreign = (
        '{"spec": {"image": {"id": "sha256:1111", "sign": "s"}, "configTemplates": {"other": "x"}}, '
        '"metadata": {"labels": {"of": "others"}}}'
    )
    master.execute(f"kubectl patch appimages.kuscia.secretflow {app_image} --type merge -p '{foreign}'")
    assert "AppImage configured" in register.succeeds(center, "center", name)
    found = master.app_image(app_image)
    assert found["spec"]["image"] == {"name": name[:-3], "tag": "v1"}
    assert list(found["spec"]["configTemplates"]) == ["task.conf"] and found["metadata"]["labels"] == {"of": "others"}
    assert "AppImage unchanged" in register.succeeds(center, "center", name)


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
        (": imported", 0.5, signal.SIGKILL),
        (": imported", 0.5, signal.SIGINT),
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


def test_usage(register: Register) -> None:
    def ended(*arguments: str) -> Any:
        done = subprocess.run([FIMG, "register", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert ended("-h")[0] == 0
    for arguments in ((), ("-m", "center"), ("-i", "a:1"), ("-m", "both", "-i", "a:1"), ("-x",)):
        status, output = ended(*arguments)
        assert status == 2 and "Usage: fimg register" in output, output
