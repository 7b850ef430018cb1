"""AppImages from templates: what is filled, what survives, what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from fimg_pipeline.kuscia.manifest import TemplateError, app_image
from fimg_pipeline.kuscia.reference import Reference, parse

IMAGE = parse("host:5000/a/b:2.0")
TEMPLATE = """# somebody's own
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata:
  name: {{APP_IMAGE_NAME}}
spec:
  image:
    name: {{IMAGE_NAME}}
    tag: {{IMAGE_TAG}}
  configTemplates:
    task.conf: |
      {"task_id": "{{.TASK_ID}}", "input": {{{.TASK_INPUT_CONFIG}}}, "of": "{{APP_IMAGE_NAME}}"}
  deployTemplates:
    - name: main
      replicas: 1
      spec:
        restartPolicy: Never
        containers:
          - name: main
            workingDir: /work
            command: [sh, -c, "run {{IMAGE_NAME}}:{{IMAGE_TAG}}"]
            configVolumeMounts:
              - mountPath: /work/task.conf
                subPath: task.conf
            ports:
              - {name: http, protocol: HTTP, scope: Cluster}
"""


def made(template: str = TEMPLATE, name: str = "b-2-0", image: Reference = IMAGE) -> dict[str, Any]:
    return app_image(template, name, image)


def test_three_placeholders_are_filled_and_those_of_kuscia_survive() -> None:
    done = made()
    assert done["metadata"] == {"name": "b-2-0"}
    assert done["spec"]["image"] == {"name": "host:5000/a/b", "tag": "2.0"}
    assert done["spec"]["configTemplates"]["task.conf"] == (
        '{"task_id": "{{.TASK_ID}}", "input": {{{.TASK_INPUT_CONFIG}}}, "of": "b-2-0"}\n'
    )
    container = done["spec"]["deployTemplates"][0]["spec"]["containers"][0]
    assert container["command"] == ["sh", "-c", "run host:5000/a/b:2.0"]


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("tag", ["2.0", "1e3", "0x10", "true", "null", "2026-11-26", "1_000", "_"])
def test_a_tag_stays_a_string(tag: str, quote: str) -> None:
    template = TEMPLATE.replace("tag: {{IMAGE_TAG}}", f"tag: {quote}{{{{IMAGE_TAG}}}}{quote}")
    assert made(template, image=Reference("host:5000/a/b", tag))["spec"]["image"]["tag"] == tag


def test_what_a_value_holds_is_neither_yaml_nor_a_pattern() -> None:
    """No image is called so; nothing of it may reach the manifest but as text."""
    image = Reference(r"a: {b} & !c \1 | # d", "'\"")
    assert made(image=image)["spec"]["image"] == {"name": image.repository, "tag": image.tag}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("kind: AppImage", "kind: Pod", "kind must be 'AppImage'"),
        ("kuscia.secretflow/v1alpha1", "v1", "apiVersion must be"),
        ("    name: {{IMAGE_NAME}}\n", "", r"spec\.image\.name is missing"),
        ("tag: {{IMAGE_TAG}}", "tag: 2.0", r"spec\.image\.tag must be text"),
        (
            "tag: {{IMAGE_TAG}}",
            "tag: '3.0'",
            r"spec\.image is host:5000/a/b:3\.0, and host:5000/a/b:2\.0 is",
        ),
        ("name: {{APP_IMAGE_NAME}}\nspec", "name: other\nspec", "metadata.name is other, and b-2-0 is registered"),
        ("    - name: main\n      replicas", "    - replicas", r"spec\.deployTemplates\[0\]\.name is missing"),
        ("            workingDir: /work\n", "", r"containers\[0\]\.workingDir is missing"),
        ("protocol: HTTP", "protocol: TCP", r"ports\[0\]\.protocol must be 'HTTP' or 'GRPC'"),
        ("scope: Cluster", "scope: World", r"ports\[0\]\.scope must be"),
        ("subPath: task.conf", "subPath: other.conf", "mounts other.conf, which spec.configTemplates does not have"),
        ("name: http", "name: averyveryverylongname", r"ports\[0\]\.name 'averyveryverylongname' must be a-z, 0-9"),
        ("name: http", "name: '8080'", r"ports\[0\]\.name '8080' must be .*a letter"),
        ("name: http", "name: a--b", r"ports\[0\]\.name 'a--b' must be"),
        (
            "- {name: http, protocol: HTTP, scope: Cluster}",
            "- {name: http}\n              - {name: http, port: 1}",
            r"containers: http is a port's name twice",
        ),
        (
            "          - name: main\n",
            "          - {name: main, workingDir: /}\n          - name: main\n",
            r"deployTemplates\[0\]\.spec\.containers: main is a container's name twice",
        ),
        (
            "          - name: main\n",
            "          - {name: other, workingDir: /, ports: [{name: http}]}\n          - name: main\n",
            "http is a port's name twice",
        ),
        (
            "              - mountPath: /work/task.conf\n",
            "              - {mountPath: /work/task.conf, subPath: task.conf}\n"
            "              - mountPath: /work/task.conf\n",
            r"containers\[0\]: /work/task.conf is mounted over twice",
        ),
        ("mountPath: /work/task.conf", "mountPath: /work:task.conf", "mountPath '/work:task.conf' must be a path"),
        ("    task.conf: |", "    task conf: |", "configTemplates.*'task conf' must be letters, digits"),
        ("    task.conf: |", "    ..: |", r"configTemplates.*'\.\.' must be letters, digits"),
        ("replicas: 1", "replicas: 2147483648", r"deployTemplates\[0\]\.replicas must be less than or equal to"),
        ("scope: Cluster}", "scope: Cluster, port: 65536}", r"ports\[0\]\.port must be less than or equal to 65535"),
        ("    task.conf: |", f"    {'k' * 254}: |", "must be letters, digits, '-', '_' and '.', of at most 253"),
        (
            "  configTemplates:\n",
            f"  configTemplates:\n    other: '{'<' * 170_000}'\n",
            r"it has 10\d{5} bytes as an API server keeps it, and 1000000 are taken at most",
        ),
        ("replicas: 1", "replicas: -1", r"deployTemplates\[0\]\.replicas must be greater than or equal to 0"),
        ("metadata:\n", "metadata:\n  finalizers: [a/b]\n", "metadata.finalizers is not known here"),
        ("restartPolicy: Never", "restartPolicy: no", "restartPolicy must be"),
        ("kind: AppImage", "kind: AppImage\nkind: Pod", "kind is there twice"),
        ("kind: AppImage", "kind: [AppImage", "it is no YAML"),
        ("kind: AppImage", "kind: !!python/name:os.system", "it is no YAML"),
        ("name: main\n            workingDir", "name: {{.ID}}\n            workingDir", r"no YAML.*unhashable key"),
        ("# somebody's own", "x: &x {y: *x}", "contains itself"),
        ("# somebody's own", "a: b\n---", "it must be one document of kind AppImage, and holds 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(before: str, after: str, told: str) -> None:
    assert before in TEMPLATE
    with pytest.raises(TemplateError, match=told):
        made(TEMPLATE.replace(before, after, 1))


def test_what_a_server_noted_in_one_that_was_exported_is_left_out() -> None:
    noted = (
        "  creationTimestamp: 2026-11-26T00:00:00Z\n  generation: 3\n  resourceVersion: '7'\n  uid: x\n"
        "  managedFields: [{manager: kubectl}]\n  labels: {a: b}\n"
        "  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', c: d}\nspec:"
    )
    done = made(TEMPLATE.replace("spec:", noted, 1) + "status: {}\n")
    assert done["metadata"] == {"name": "b-2-0", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    assert "status" not in done and done["spec"] == made()["spec"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    tag: {{IMAGE_TAG}}\n", "    tag: {{IMAGE_TAG}}\n    id:\n    sign:\n"),
        ("protocol: HTTP, scope: Cluster", "protocol: , scope: "),
        ("replicas: 1", "replicas: 2147483647"),
        ("    task.conf: |", f"    {'k' * 253}: ''\n    task.conf: |"),
    ],
)
def test_what_servers_take_is_taken(before: str, after: str) -> None:
    """Empty fields among it: Kuscia's own documents have them."""
    assert made(TEMPLATE.replace(before, after, 1))["kind"] == "AppImage"


@pytest.mark.parametrize(
    ("broken", "hinted"), [("name: {{.ID}}\n            w", True), ("\tname: x\n            w", False)]
)
def test_quotes_are_advised_where_they_would_help(broken: str, hinted: bool) -> None:
    with pytest.raises(TemplateError) as caught:
        made(TEMPLATE.replace("name: main\n            w", broken, 1))
    assert (caught.value.hint is not None) is hinted


@pytest.mark.parametrize("template", ["", "# nothing\n", "- a\n", "text"])
def test_what_is_no_manifest_at_all_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match="must be one document of kind AppImage"):
        made(template)


def test_short_names_are_written_out_as_nodes_know_them() -> None:
    template = TEMPLATE.replace("name: {{IMAGE_NAME}}", "name: psi/app").replace("tag: {{IMAGE_TAG}}", "tag: v1")
    done = made(template, image=parse("psi/app:v1"))
    assert done["spec"]["image"] == {"name": "docker.io/psi/app", "tag": "v1"}
    with pytest.raises(TemplateError, match=r"spec\.image is psi/app:v1, and docker\.io/psi/app:v2 is registered"):
        made(template, image=parse("psi/app:v2"))
