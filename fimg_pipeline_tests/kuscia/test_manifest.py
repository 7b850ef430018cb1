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


@pytest.mark.parametrize("template", ["", "# nothing\n", "- a\n", "text"])
def test_what_is_no_manifest_at_all_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match="must be one document of kind AppImage"):
        made(template)
