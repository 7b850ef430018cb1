"""What the check of registered AppImages looks at, by what the instance has on record; the nodes answer as told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets import registration
from fimg_pipeline.assets.keys import REGISTERED
from fimg_pipeline.assets.partitions import add_tag, partition_key, remove_tag
from fimg_pipeline.kuscia.registration import Registration, Result
from fimg_pipeline.settings import load


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The AppImages that nodes have lost, for a file with nginx in it."""
    file = tmp_path / "app-images.yaml"
    file.write_text("app_images: [{image: nginx, mode: center, user: x}]")
    monkeypatch.setenv("KUSCIA_APP_IMAGES", str(file))
    found: set[str] = set()

    def deviations(_engine: Any, registered: Registration) -> dict[str, str]:
        return {"x-kuscia-master": f"AppImage {registered.name} is not there"} if registered.name in found else {}

    monkeypatch.setattr(registration, "deviations", deviations)
    return found


def register(instance: dg.DagsterInstance, tag: str) -> None:
    add_tag(instance, tag)
    (wanted,) = registration.configured_for(load())
    document = {"metadata": {"name": f"nginx-{tag}"}}
    results = [Result("x-kuscia-master", app_image="created")]
    made = Registration(f"reg.example/nginx:{tag}", "sha256:1", document, ["lite"], ["x-kuscia-master"], results)
    key = json.dumps([json.dumps(wanted.model_dump(mode="json"), sort_keys=True), ""])
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            REGISTERED, partition=partition_key("amd64", tag), metadata=registration._told({key: made})
        )
    )


def check(instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    (found,) = registration.registration_assets(load()).checks
    result = found(dg.build_asset_check_context(instance=instance))
    assert isinstance(result, dg.AssetCheckResult)
    return result


def test_every_tag_is_looked_at(instance: dg.DagsterInstance, lost: set[str]) -> None:
    for tag in ("1", "2", "1"):
        register(instance, tag)
    assert check(instance).passed
    lost.add("nginx-2")
    found = check(instance)
    assert not found.passed and found.description == "x-kuscia-master: AppImage nginx-2 is not there"
    table: Any = found.metadata["nodes"]
    assert {row.data["AppImage"] for row in table.records} == {"nginx-1", "nginx-2"}
    # Of a tag that is removed nobody wants to know any more.
    remove_tag(instance, "2")
    assert check(instance).passed
