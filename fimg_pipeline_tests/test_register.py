"""From an image of the matrix to an AppImage in one run, on real nodes; and the check that asks them again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from fimg_pipeline.assets.keys import REGISTERED
from fimg_pipeline.assets.registration import CHECK, registration_assets
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.kuscia import templates
from fimg_pipeline.sample import commit_change
from fimg_pipeline.settings import load
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import PREFIX, ids
from fimg_pipeline_tests.rig.kuscia import CTR, Kuscia, kuscia
from fimg_pipeline_tests.rig.web import ended, switch_on, ticks, until, web_ui

pytestmark = pytest.mark.engine

NGINX = f"{PREFIX}/nginx:demo"


@pytest.fixture(scope="module")
def rig() -> Iterator[Kuscia]:
    with kuscia() as started:
        started.start("master", ["master"])
        started.start("lite", ["lite-alice", "lite-bob"])
        yield started


@pytest.fixture
def app_images(rig: Kuscia, tmp_path: Path) -> Path:
    """The file that has nginx registered."""
    file = tmp_path / "app-images.yaml"
    file.write_text(yaml.safe_dump({"app_images": [{"image": "nginx", "mode": "center", "user": rig.user}]}))
    return file


def registered(fimg: Fimg, app_images: Path, status: int = 0) -> str:
    """What a run of nginx and its AppImage prints."""
    fimg.settings["KUSCIA_APP_IMAGES"] = str(app_images)
    try:
        process = fimg.materialize('key:nginx or key:"package/proxy" or key:"kuscia/app_images"', "amd64|demo")
        output, _ = process.communicate(timeout=900)
    finally:
        del fimg.settings["KUSCIA_APP_IMAGES"]
    assert process.returncode == status, output
    return output


def test_one_run_from_the_image_to_the_app_image(
    fimg: Fimg, engine: Engine, rig: Kuscia, app_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fimg.succeeds("build", "--image", "nginx")
    before = ids(engine)["nginx"]
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# {time.time()}\n", "Change")
    output = registered(fimg, app_images)
    built = ids(engine)["nginx"]
    assert built != before
    assert {node.image_id(NGINX) for name, node in rig.nodes.items() if name != "master"} == {built}
    (name,) = rig.nodes["master"].app_images()
    assert rig.nodes["master"].app_image(name.partition("/")[2])["spec"]["image"]["tag"] == "demo"
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        made = instance.fetch_materializations(REGISTERED, limit=1).records[0].asset_materialization
        assert made is not None and made.partition == "amd64|demo"
        table: Any = made.metadata["nodes"]
        assert [(row.data["node"].rpartition("-")[2], row.data["result"]) for row in table.records] == [
            ("alice", ""),
            ("bob", ""),
            ("master", "created"),
        ]
        assert f"kuscia__app_images_{CHECK} - STEP_SUCCESS" in output
        monkeypatch.setenv("KUSCIA_APP_IMAGES", str(app_images))
        assert checked(instance).passed
        rig.nodes["lite-bob"].execute(f"{CTR} images rm {NGINX}")
        rig.nodes["master"].execute(
            f'kubectl patch {name} --type merge -p \'{{"spec": {{"image": {{"tag": "other"}}}}}}\''
        )
        found = checked(instance)
        assert not found.passed and found.description is not None
        assert f"lite-bob: it has no {NGINX}" in found.description
        assert "AppImage nginx-demo was changed: spec.image.tag" in found.description
        again = registered(fimg, app_images)
        assert "lite-alice: has sha256:" in again and "lite-bob: imported sha256:" in again
        assert "master: AppImage configured" in again and checked(instance).passed


def checked(instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """What the check says now."""
    (check,) = registration_assets(load()).checks
    result = check(dg.build_asset_check_context(instance=instance))
    assert isinstance(result, dg.AssetCheckResult)
    return result


def test_a_node_that_is_not_there_fails_the_run(fimg: Fimg, rig: Kuscia, app_images: Path) -> None:
    text = app_images.read_text().replace("mode:", "domains: [alice, carol]\n  mode:")
    app_images.write_text(text)
    output = registered(fimg, app_images, status=1)
    assert f"there is no container {rig.user}-kuscia-lite-carol" in output


def test_what_a_run_did_before_it_failed_is_known(
    fimg: Fimg, rig: Kuscia, app_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check compares nodes with what was done last, not with what an earlier run did."""
    fine = {"image": "nginx", "name": "fine", "mode": "center", "user": rig.user}
    app_images.write_text(yaml.safe_dump({"app_images": [fine, {**fine, "name": "lost", "domains": ["carol"]}]}))
    output = registered(fimg, app_images, status=1)
    assert "master: AppImage created" in output and "lite-carol" in output
    monkeypatch.setenv("KUSCIA_APP_IMAGES", str(app_images))
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        found = checked(instance)
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert found.description == "lost of nginx was not registered yet"
        app_images.write_text(yaml.safe_dump({"app_images": [fine]}))
        assert checked(instance).passed
        # What the file says now was not done, and what was done is still looked at.
        app_images.write_text(yaml.safe_dump({"app_images": [{**fine, "pin": True}]}))
        changed = checked(instance)
        assert not changed.passed
        assert changed.description == "fine of nginx was not registered since the file says something else of it"
        # Nor is what its template is not any more.
        (app_images.parent / "own.yaml").write_text(templates.shipped("general").text)
        app_images.write_text(yaml.safe_dump({"app_images": [{**fine, "template": "own.yaml"}]}))
        registered(fimg, app_images)
        assert checked(instance).passed
        (app_images.parent / "own.yaml").write_text(templates.shipped("fateflow").text)
        assert checked(instance).description == changed.description
        # Metadata of somebody else's making is none of ours.
        instance.report_runless_asset_event(
            dg.AssetObservation(REGISTERED, metadata={"registered": dg.MetadataValue.json([1])})
        )
        assert checked(instance).description == changed.description
        rig.nodes["master"].execute("kubectl delete appimages.kuscia.secretflow fine")
        gone = checked(instance)
        assert (gone.passed, gone.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert gone.description is not None and "AppImage fine is not there" in gone.description


def test_one_app_image_is_not_registered_over_another(fimg: Fimg, rig: Kuscia, app_images: Path) -> None:
    """One is called as the other comes to be called, after its image and tag."""
    one = {"image": "nginx", "mode": "center", "user": rig.user}
    app_images.write_text(yaml.safe_dump({"app_images": [one, {**one, "name": "nginx-demo", "template": "general"}]}))
    output = registered(fimg, app_images, status=1)
    assert "nginx-demo of nginx: another one is registered as nginx-demo there" in output
    assert output.count("master: AppImage") == 1


def test_a_file_that_can_t_be_used_fails_the_run_only(fimg: Fimg, app_images: Path) -> None:
    app_images.write_text("app_images: [{image: no-image, mode: center, user: x}]")
    assert "app_images[0]: no image is called no-image" in registered(fimg, app_images, status=1)


def test_what_is_built_is_registered_by_itself(fimg: Fimg, engine: Engine, rig: Kuscia, app_images: Path) -> None:
    """By the sensor, in the daemon: once, and again when it is built anew."""
    name = f"{PREFIX}/nginx:self"
    own = {"AFTER_BUILD": "register", "KUSCIA_APP_IMAGES": str(app_images), "TAG": "self", **switches(Feature.SPARK)}
    by_itself = replace(fimg, settings={**fimg.settings, **own})
    by_itself.succeeds("build")
    with web_ui(by_itself) as (address, _):
        switch_on(address, "deliveries")
        (first,) = until(lambda: asked_for(address), 150)
        assert ended(address, first, 240) == "SUCCESS", by_itself.said.read_text()
        assert rig.nodes["master"].app_image("nginx-self")["spec"]["image"]["tag"] == "self"
        commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# {time.time()}\n", "Change")
        by_itself.succeeds("build")
        built = engine.state().by_reference[name].image_id
        second, _ = until(lambda: asked_for(address)[1:] and asked_for(address), 150)
        assert ended(address, second, 240) == "SUCCESS", by_itself.said.read_text()
        assert {node.image_id(name) for each, node in rig.nodes.items() if each != "master"} == {built}
        until(lambda: "all is where it belongs" in (ticks(address, "deliveries")[0]["skipReason"] or ""), 150)


def asked_for(address: str) -> list[str]:
    """The runs that ``deliveries`` asked for, the latest first."""
    return [run for tick in ticks(address, "deliveries") for run in tick["runIds"]]
