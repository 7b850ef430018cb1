"""What becomes of AppImages: whatever others made of them, and when servers fail in between."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from fimg_pipeline.kuscia import templates
from fimg_pipeline.kuscia.documents import load_all
from fimg_pipeline_tests.kuscia.registering import Images, Register, lites, unique
from fimg_pipeline_tests.kuscia.test_documents import SCALARS
from fimg_pipeline_tests.rig.kuscia import Kuscia, KusciaNode

pytestmark = pytest.mark.engine


@contextmanager
def kubectl_that(node: KusciaNode, script: str) -> Iterator[None]:
    """Has the node run ``script``, to which ``kubectl`` is the real one, where an AppImage is created or replaced."""
    path = node.execute("command -v kubectl").strip()
    lines = f"""#!/bin/sh
kubectl() {{ /root/kubectl "$@"; }}
case "$*" in
*--dry-run*) ;;
*"create --filename"*|*"replace --raw"*) {script} ;;
esac
exec /root/kubectl "$@"
"""
    node.execute(f"mv {path} /root/kubectl && cat > {path} <<'END'\n{lines}END\nchmod +x {path}")
    try:
        yield
    finally:
        node.execute(f"mv /root/kubectl {path}")


@pytest.mark.parametrize("how", ["kubectl apply", "kubectl replace", "kubectl edit"])
def test_whatever_somebody_edited_it_is_registered_again(
    center: Kuscia, register: Register, images: Images, how: str
) -> None:
    """kubectl notes in the object what it was given, the version that was exported included."""
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name).split()[-1]
    master = center.nodes["master"]
    edited = "sed 's/replicas: 1/replicas: 3/; s/workingDir: .*/workingDir: \\/other/'"
    resource = f"appimages.kuscia.secretflow {app_image}"
    if how == "kubectl edit":
        editor = 'sed -i "s/replicas: 1/replicas: 3/" "$1"'
        master.execute(f"echo '{editor}' > /tmp/editor && EDITOR='sh /tmp/editor' kubectl edit {resource}")
    else:
        master.execute(f"kubectl get {resource} -o yaml | {edited} > /tmp/edited.yaml && {how} -f /tmp/edited.yaml")
    assert master.app_image(app_image)["spec"]["deployTemplates"][0]["replicas"] == 3
    assert "AppImage configured" in register.succeeds(center, "center", name)
    assert master.app_image(app_image)["spec"]["deployTemplates"][0]["replicas"] == 1
    assert "AppImage unchanged" in register.succeeds(center, "center", name)


def test_notes_of_kubectl_that_are_none_do_not_stand_in_the_way(
    center: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name).split()[-1]
    center.nodes["master"].execute(
        f"kubectl annotate appimages.kuscia.secretflow {app_image} kubectl.kubernetes.io/last-applied-configuration=x"
    )
    assert "AppImage unchanged" in register.succeeds(center, "center", name)


def test_an_exported_app_image_is_a_template(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name).split()[-1]
    master = center.nodes["master"]
    exported = tmp_path / "exported.yaml"
    # As it is when somebody applied it once.
    master.execute(
        f"kubectl get appimages.kuscia.secretflow {app_image} -o yaml > /tmp/it.yaml && kubectl apply -f /tmp/it.yaml"
    )
    exported.write_text(master.execute(f"kubectl get appimages.kuscia.secretflow {app_image} -o yaml"))
    assert "resourceVersion" in exported.read_text() and "last-applied-configuration" in exported.read_text()
    assert "AppImage unchanged" in register.succeeds(center, "center", name, "-f", str(exported))
    exported.write_text(exported.read_text().replace("replicas: 1", "replicas: 2"))
    assert "AppImage configured" in register.succeeds(center, "center", name, "-f", str(exported))
    assert master.app_image(app_image)["spec"]["deployTemplates"][0]["replicas"] == 2
    other = exported.read_text().replace(f"  name: {app_image}\n", f"  name: {app_image}-other\n")
    exported.write_text(other)
    assert "AppImage created" in register.succeeds(
        center, "center", name, "-f", str(exported), "-n", f"{app_image}-other"
    )


def test_an_id_of_another_image_in_a_template_is_refused(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    """As one that was exported and whose image was built anew; nodes would start nothing of it."""
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    template = tmp_path / "template.yaml"
    text = templates.shipped("general").text
    assert "    tag: {{IMAGE_TAG}}\n" in text

    def naming(named: str) -> str:
        template.write_text(text.replace("    tag: {{IMAGE_TAG}}\n", f"    tag: {{{{IMAGE_TAG}}}}\n    id: {named}\n"))
        return str(template)

    other, called = f"sha256:{'d' * 64}", f"named-{image_id[7:15]}"
    result = register(center, "center", name, "-f", naming(other), "-n", called)
    assert result.status == 1 and f"and the image is {image_id}" in result.output, result.output
    assert not any(name in node.images() for node in lites(center))
    register.succeeds(center, "center", name, "-f", naming(image_id), "-n", called)
    register.succeeds(center, "center", name, "-f", naming(other), "-n", called, "--pin")
    assert center.nodes["master"].app_image(called)["spec"]["image"]["id"] == image_id


def test_kubectl_reads_yaml_as_we_do(center: Kuscia) -> None:
    text = (
        yaml.safe_dump(
            {
                "apiVersion": "kuscia.secretflow/v1alpha1",
                "kind": "AppImage",
                "metadata": {"name": "scalars"},
                "spec": {"image": {"name": "a", "tag": "b"}, "deployTemplates": []},
            }
        )
        + "values:\n"
        + "".join(f"- {scalar}\n" for scalar in SCALARS)
    )
    printed = center.nodes["master"].execute(
        f"kubectl create --dry-run=client --validate=false -o json -f - <<'END'\n{text}END"
    )
    ((told,), (ours,)) = load_all(printed), load_all(text)
    assert told["values"] == ours["values"] == list(SCALARS.values())


def test_a_server_that_refuses_it_at_the_end_is_named_with_what_is_where(
    p2p: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    alice, bob = (p2p.nodes[f"autonomy-{domain}"] for domain in ("alice", "bob"))
    with kubectl_that(bob, "echo 'not today' >&2; exit 1"):
        result = register(p2p, "p2p", name)
    assert result.status == 1, result.output
    assert f"  {bob.name}: kubectl create: it ended with 1: not today\n" in result.output
    assert f"the image is now in {alice.name}, {bob.name}; the AppImage in {alice.name}\n" in result.output
    again = register.succeeds(p2p, "p2p", name)
    assert f"{alice.name}: AppImage unchanged" in again and f"{bob.name}: AppImage created" in again


def test_what_a_server_may_have_is_not_denied(p2p: Kuscia, register: Register, images: Images) -> None:
    """It takes the AppImage, and answers no more."""
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    alice, bob = (p2p.nodes[f"autonomy-{domain}"] for domain in ("alice", "bob"))
    with kubectl_that(bob, 'kubectl "$@"; mv /rig/kubeconfig /rig/away; exit 0'):
        try:
            result = register(p2p, "p2p", name)
        finally:
            bob.execute("mv /rig/away /rig/kubeconfig")
    assert result.status == 1, result.output
    assert f"  {bob.name}: it was sent, and what became of it can't be seen: kubectl get:" in result.output
    assert f"the AppImage in {alice.name}, and perhaps in {bob.name}\n" in result.output
    assert f"{bob.name}: AppImage unchanged" in register.succeeds(p2p, "p2p", name)


def test_a_server_that_takes_it_and_says_it_did_not_is_looked_at(
    p2p: Kuscia, register: Register, images: Images
) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    bob = p2p.nodes["autonomy-bob"]
    with kubectl_that(bob, 'kubectl "$@"; echo "connection lost" >&2; exit 1'):
        assert f"{bob.name}: AppImage created" in register.succeeds(p2p, "p2p", name)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_between_two_servers_and_run_again(
    p2p: Kuscia, register: Register, images: Images, how: signal.Signals
) -> None:
    name = f"reg.example/{unique()}:v1"
    image_id = images.make(name)
    app_image = name.partition("/")[2].replace(":", "-")
    alice, bob = (p2p.nodes[f"autonomy-{domain}"] for domain in ("alice", "bob"))
    with kubectl_that(bob, "touch /root/here; while [ ! -e /root/go ]; do sleep 0.1; done; exit 1"):
        process = register.start(p2p, "p2p", name)
        try:
            started = time.monotonic()
            while bob.execute("ls /root").find("here") < 0 or not any(app_image in each for each in alice.app_images()):
                assert time.monotonic() - started < 60 and process.poll() is None
            os.killpg(process.pid, how)
            bob.execute("touch /root/go")
            output, _ = process.communicate(timeout=60)
        finally:
            bob.execute("touch /root/go; sleep 0.5; rm -f /root/here /root/go")
    assert process.returncode != 0 and "Traceback" not in output, output
    assert not any(app_image in each for each in bob.app_images())
    assert {node.image_id(name) for node in (alice, bob)} == {image_id}
    again = register.succeeds(p2p, "p2p", name)
    assert f"{alice.name}: AppImage unchanged" in again and f"{bob.name}: AppImage created" in again


def test_what_others_have_put_into_the_app_image_is_taken_out(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    """An id of another image, as older tools leave it, would have every node refuse what is registered.

    The template has more than a command line can hold.
    """
    template = tmp_path / "template.yaml"
    template.write_text(
        templates.shipped("general").text.replace(
            "    task-config.conf: |\n", f"    task-config.conf: |\n      {'x' * 150_000}\n"
        )
    )
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = register.succeeds(center, "center", name, "-f", str(template)).split()[-1]
    master = center.nodes["master"]
    foreign = (
        '{"spec": {"image": {"id": "sha256:1111", "sign": "s"}, "configTemplates": {"other": "x"}}, '
        '"metadata": {"labels": {"of": "others"}}}'
    )
    master.execute(f"kubectl patch appimages.kuscia.secretflow {app_image} --type merge -p '{foreign}'")
    assert "AppImage configured" in register.succeeds(center, "center", name, "-f", str(template))
    found = master.app_image(app_image)
    assert found["spec"]["image"] == {"name": name[:-3], "tag": "v1"}
    assert list(found["spec"]["configTemplates"]) == ["task-config.conf"] and found["metadata"]["labels"] == {
        "of": "others"
    }
    assert "AppImage unchanged" in register.succeeds(center, "center", name, "-f", str(template))


def test_what_the_server_leaves_out_is_no_change(
    center: Kuscia, register: Register, images: Images, tmp_path: Path
) -> None:
    """kubectl says "configured" each time; the object stays what it was."""
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    template = tmp_path / "template.yaml"
    template.write_text(templates.shipped("general").text.replace("command: [sh]", "command:"))
    assert "AppImage created" in register.succeeds(center, "center", name, "-f", str(template))
    assert "AppImage unchanged" in register.succeeds(center, "center", name, "-f", str(template))


def test_an_app_image_that_is_being_deleted_is_none(center: Kuscia, register: Register, images: Images) -> None:
    name = f"reg.example/{unique()}:v1"
    images.make(name)
    app_image = f"appimages.kuscia.secretflow {register.succeeds(center, 'center', name).split()[-1]}"
    master = center.nodes["master"]

    def hold(finalizers: str) -> None:
        patch = f'{{"metadata": {{"finalizers": {finalizers}}}}}'
        master.execute(f"kubectl patch {app_image} --type merge -p '{patch}'")

    hold('["test/holds"]')
    master.execute(f"kubectl delete {app_image} --wait=false")
    try:
        result = register(center, "center", name)
    finally:
        hold("[]")
    assert result.status == 1 and "metadata.deletionTimestamp" in result.output, result.output
    assert "AppImage created" in register.succeeds(center, "center", name)
