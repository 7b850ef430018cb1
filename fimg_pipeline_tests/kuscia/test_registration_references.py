"""What an AppImage names is what nodes have, whatever the image is called and whoever wrote the template."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.kuscia import templates
from fimg_pipeline_tests.kuscia.registering import Images, Register, lites, unique, untouched
from fimg_pipeline_tests.rig.kuscia import Kuscia
from fimg_pipeline_tests.rig.registry import registry

pytestmark = pytest.mark.engine


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
            "    task-config.conf: |\n", f"    other: |\n      {text}\n    task-config.conf: |\n"
        )
    )
    app_image = register.succeeds(center, "center", name, "-f", str(template)).split()[-1]
    found = center.nodes["master"].app_image(app_image)["spec"]["configTemplates"]
    assert found["other"] == f"{text}\n" and '"{{.TASK_ID}}"' in found["task-config.conf"]


def test_an_image_brings_its_own_template(center: Kuscia, register: Register, images: Images) -> None:
    own = templates.shipped("general").text.replace("name: secretflow", "name: of-the-image")
    name = f"reg.example/{unique()}:v1"
    images.make(name, files={"kuscia/app_image.yaml": own})
    output = register.succeeds(center, "center", name)
    (template,) = center.nodes["master"].app_image(output.split()[-1])["spec"]["deployTemplates"]
    assert template["name"] == "of-the-image" and "/kuscia/app_image.yaml of the image" in output
    register.succeeds(center, "center", name, "-f", "fateflow")
    (template,) = center.nodes["master"].app_image(output.split()[-1])["spec"]["deployTemplates"]
    assert template["name"] == "fateflow"


def test_a_template_that_an_image_brings_may_be_a_link(center: Kuscia, register: Register, images: Images) -> None:
    own = templates.shipped("general").text.replace("name: secretflow", "name: linked-to")
    name = f"reg.example/{unique()}:v1"
    images.make(name, files={"etc/template.yaml": own}, links={"kuscia/app_image.yaml": "../etc/template.yaml"})
    output = register.succeeds(center, "center", name)
    (template,) = center.nodes["master"].app_image(output.split()[-1])["spec"]["deployTemplates"]
    assert template["name"] == "linked-to"


@pytest.mark.parametrize(
    ("files", "links", "told"),
    [
        ({"kuscia/app_image.yaml": "#" * 3_000_000}, {}, "has 3000000 bytes, and 1048576 are read at most"),
        ({"kuscia/app_image.yaml/file": ""}, {}, "is a folder"),
        ({"kuscia/app_image.yaml": "kind: Pod"}, {}, "/kuscia/app_image.yaml of the image: apiVersion is missing"),
        ({}, {"kuscia/app_image.yaml": "nowhere.yaml"}, "is a link to /kuscia/nowhere.yaml, which is not there"),
    ],
)
def test_a_template_that_an_image_brings_and_that_is_none_is_refused(
    center: Kuscia, register: Register, images: Images, files: dict[str, str], links: dict[str, str], told: str
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name, files=files, links=links)
    result = register(center, "center", name)
    assert result.status == 1 and told in result.output, result.output
    untouched(center, name)


def test_servers_of_before_kuscia_0_6_want_an_id_and_a_signature(
    p2p: Kuscia, register: Register, images: Images
) -> None:
    """What they ask for is known to them before the image has been read."""
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    image = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/image/required"

    def require(fields: list[str]) -> None:
        patch = json.dumps([{"op": "replace", "path": image, "value": fields}])
        for node in p2p.nodes.values():
            node.execute(f"kubectl patch crd appimages.kuscia.secretflow --type json -p '{patch}'")

    require(["id", "name", "sign", "tag"])
    try:
        refused = register(p2p, "p2p", name)
        output = register.succeeds(p2p, "p2p", name, "--pin", "--sign", "none")
    finally:
        require(["name", "tag"])
    assert refused.status == 1, refused.output
    # By the server, or by kubectl if it has heard of it by then.
    told = [line for line in refused.output.splitlines() if re.search(r"kubectl create: .*\bid\b.*\bsign\b", line)]
    assert len(told) == 2, refused.output
    for node in p2p.nodes.values():
        found = node.app_image(output.split()[-1])["spec"]["image"]
        assert (found["id"], found["sign"]) == (image_id, "none")


def test_an_image_that_was_pulled_by_its_digest_is_not_pulled_again(
    center: Kuscia, register: Register, images: Images, engine: Engine
) -> None:
    own = unique()
    wanted = images.make(f"{own}:wanted")
    with registry() as hub:
        digest = hub.push(f"{own}:wanted", f"a/{own}", "v1")
        engine.sdk.images.pull(f"{hub.name}/a/{own}@{digest}")
    reference = f"{hub.name}/a/{own}:v1"
    try:
        register.succeeds(center, "center", f"{reference}@{digest}")
    finally:
        engine.remove(f"{hub.name}/a/{own}@{digest}")
    assert {node.image_id(reference) for node in lites(center)} == {wanted}


def test_id_and_signature(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    output = register.succeeds(center, "center", name, "--pin", "--sign", "none")
    image = center.nodes["master"].app_image(output.split()[-1])["spec"]["image"]
    assert (image["id"], image["sign"]) == (image_id, "none")
