"""Setting the AppImage of a KusciaJob's tasks: that, and nothing else of the file."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from fimg_pipeline.kuscia.job import JobError, with_app_image
from fimg_pipeline.kuscia.names import AppImageNameError

#: In the shape of the one in Kuscia's document: long JSON in single quotes, dependencies in flow style.
DOCUMENT = r"""apiVersion: kuscia.secretflow/v1alpha1
kind: KusciaJob
metadata:
  name: job-best-effort-linear
spec:
  initiator: alice   # who begins
  scheduleMode: BestEffort
  maxParallelism: 2
  tasks:
    - taskID: job-psi
      alias: job-psi
      priority: 100
      taskInputConfig: '{"parties":["alice","bob"],"config":"{\"protocol\":\"REF2K\"}","attrs":[{"i64":"1048576"}]}'
      appImage: secretflow-image
      parties:
        - domainID: alice
        - domainID: bob

    - taskID: job-split
      dependencies: ['job-psi']
      appImage: "secretflow-image"   # the same
      parties: [{domainID: alice}, {domainID: bob}]
"""


def test_every_task_is_set_and_nothing_else_is_touched() -> None:
    assert with_app_image(DOCUMENT, "fate-client") == DOCUMENT.replace("secretflow-image", "fate-client")


def test_only_the_tasks_that_are_named() -> None:
    done = with_app_image(DOCUMENT, "fate-client", ["job-split"])
    assert done == DOCUMENT.replace('"secretflow-image"', '"fate-client"')


@pytest.mark.parametrize("name", ["1.0", "true", "123", "1e3", "12e5", "0o17", "null", "no", "n", "y", "2026-11-26"])
def test_a_name_stays_a_name(name: str) -> None:
    """kubectl reads ``n`` as false, ``0o17`` as 15."""
    tasks = yaml.safe_load(with_app_image(DOCUMENT, name))["spec"]["tasks"]
    assert [task["appImage"] for task in tasks] == [name, name]
    assert f'appImage: "{name}"\n' in with_app_image(DOCUMENT, name)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("- taskID: a\n    alias: b\n", "- appImage: x\n    taskID: a\n    alias: b\n"),
        ("- {taskID: a, alias: b}\n", "- {appImage: x, taskID: a, alias: b}\n"),
        ('- {"taskID": "a"}\n', '- {"appImage": "x", "taskID": "a"}\n'),
        ("- taskID: a\n    appImage:\n", "- taskID: a\n    appImage: x\n"),
        ("- taskID: a\n    appImage: # later\n", "- taskID: a\n    appImage: x # later\n"),
        ("- taskID: a\n    appImage: > # why\n      old\n", "- taskID: a\n    appImage: x # why\n"),
        ("- {taskID: a, appImage}\n", "- {taskID: a, appImage: x}\n"),
        ("- {taskID: a, appImage: }\n", "- {taskID: a, appImage: x }\n"),
        ("- taskID: a\n    appImage: 'old'\n", "- taskID: a\n    appImage: 'x'\n"),
        ("- taskID: a\n    appImage: >-\n      old\n    alias: b\n", "- taskID: a\n    appImage: x\n    alias: b\n"),
        ("- taskID: a\r\n    alias: b\r\n", "- appImage: x\r\n    taskID: a\r\n    alias: b\r\n"),
    ],
)
def test_however_a_task_is_written(task: str, expected: str) -> None:
    head = "kind: KusciaJob\nspec:\n  tasks:\n  "
    assert with_app_image(head + task, "x") == head + expected


def test_json_stays_json() -> None:
    job: Any = {"kind": "KusciaJob", "spec": {"tasks": [{"taskID": "a", "appImage": "old"}, {"taskID": "b"}]}}
    for text in (json.dumps(job), json.dumps(job, indent=2)):
        done = json.loads(with_app_image(text, "x"))
        assert [task["appImage"] for task in done["spec"]["tasks"]] == ["x", "x"]


def test_other_documents_of_the_file_stay() -> None:
    other = "kind: ConfigMap\nspec:\n  tasks: [{appImage: mine}]\n"
    done = with_app_image(f"{other}---\n{DOCUMENT}", "x")
    assert done == f"{other}---\n" + DOCUMENT.replace("secretflow-image", "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no document of kind KusciaJob"),
        ("kind: Job\n", "holds no document of kind KusciaJob"),
        ("- a\n", "holds no document of kind KusciaJob"),
        ("kind: [KusciaJob\n", "no YAML"),
        ("kind: !!python/object:os.system x\n", "no YAML"),
        ("kind: KusciaJob\n", r"spec\.tasks must be a list"),
        ("kind: KusciaJob\nspec: 7\n", r"spec\.tasks must be a list"),
        ("kind: KusciaJob\nspec: {tasks: []}\n", r"spec\.tasks must be a list"),
        ("kind: KusciaJob\nspec: {tasks: [a]}\n", r"spec\.tasks\[0\] must be a mapping"),
        ("kind: KusciaJob\nspec: {tasks: [{}]}\n", r"spec\.tasks\[0\] must be a mapping"),
        ("kind: KusciaJob\nspec: {tasks: [{appImage: a, appImage: b}]}\n", "appImage is there twice"),
        ("kind: KusciaJob\nspec: {tasks: [{appImage: [a]}]}\n", r"tasks\[0\]\.appImage must be a name"),
        ("kind: KusciaJob\nx: &x old\nspec: {tasks: [{appImage: *x}]}\n", r"tasks\[0\]\.appImage must be a name"),
        ("kind: KusciaJob\nx: &x {taskID: a}\nspec: {tasks: [*x]}\n", "would change something else too"),
        (
            "b: &b {appImage: old}\nkind: KusciaJob\nspec:\n  tasks:\n  - <<: *b\n    taskID: a\n",
            "setting it would change something else too",
        ),
        (
            "kind: KusciaJob\nspec:\n  tasks:\n  - taskID: a\n    appImage: old\n    <<: {appImage: older}\n",
            "a key is there, and comes from << as well",
        ),
        ("kind: KusciaJob\nspec:\n  tasks:\n  - ? taskID\n    : a\n", "written in another way than fields and values"),
        ("kind: KusciaJob\nspec: {tasks: [&x {taskID: *x}]}\n", "contains itself"),
    ],
)
def test_what_can_not_be_set_is_named(text: str, told: str) -> None:
    with pytest.raises(JobError, match=told):
        with_app_image(text, "x")


def test_a_task_may_be_called_by_a_number() -> None:
    text = "kind: KusciaJob\nspec: {tasks: [{taskID: 1, appImage: a}, {taskID: 2, appImage: a}]}\n"
    assert with_app_image(text, "x", ["2"]) == text.replace("taskID: 2, appImage: a", "taskID: 2, appImage: x")


def test_a_task_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(JobError, match="no task is called job-train") as caught:
        with_app_image(DOCUMENT, "x", ["job-psi", "job-train"])
    assert "job-psi, job-split" in str(caught.value)


def test_a_name_that_can_not_be_is_refused() -> None:
    with pytest.raises(AppImageNameError):
        with_app_image(DOCUMENT, "Not A Name")


def test_json_may_have_tabs() -> None:
    text = '{"kind": "KusciaJob", "spec": {"tasks": [{"taskID": "a", "appImage": "A"},{\n\t"taskID":\t"b\\tc"}]}}'
    done = with_app_image(text, "x")
    assert json.loads(done)["spec"]["tasks"] == [
        {"taskID": "a", "appImage": "x"},
        {"taskID": "b\tc", "appImage": "x"},
    ]
    assert "\n\t" in done
