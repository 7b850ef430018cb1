"""Kuscia's nodes that a file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.doctor import nodes as module
from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.engine.containers import ContainerError
from fimg_pipeline.kuscia.deployment import Deployment
from fimg_pipeline.kuscia.registration import Nodes
from fimg_pipeline_tests.plan.samples import make_settings

FILE = """
app_images:
  - {image: fateflow, mode: center, user: root}
  - {image: nginx, mode: center, user: root}
  - {image: client, mode: p2p, user: away, domains: [carol]}
"""


def found(file: Path) -> list[Finding]:
    return list(module.nodes(make_settings((), KUSCIA_APP_IMAGES=str(file))))


def test_each_deployment_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(_engine: object, deployment: Deployment) -> Nodes:
        asked.append(deployment.user)
        if deployment.user == "away":
            raise ContainerError("there is no container away-kuscia-autonomy-carol")
        return Nodes([], [], "amd64")

    monkeypatch.setattr(module, "find_nodes", find)
    (tmp_path / "apps.yaml").write_text(FILE)
    file, here, away = found(tmp_path / "apps.yaml")
    assert asked == ["root", "away"] and file.told == f"3 AppImages in {tmp_path}/apps.yaml"
    names = "root-kuscia-lite-alice, root-kuscia-lite-bob, root-kuscia-master"
    assert here == Finding("Kuscia of root", Verdict.OK, f"{names}: running, amd64")
    assert away == Finding("Kuscia of away", Verdict.WRONG, "there is no container away-kuscia-autonomy-carol")


def test_a_file_that_says_what_can_not_be_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "apps.yaml").write_text("app_images:\n  - {image: no-such, mode: center, user: root}\n")
    (only,) = found(tmp_path / "apps.yaml")
    assert only.verdict is Verdict.WRONG and "no image is called no-such" in only.told


def test_without_a_file_there_is_nothing_to_look_at() -> None:
    assert list(module.nodes(make_settings(()))) == []
