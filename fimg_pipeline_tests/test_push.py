"""``fimg push`` on the sample's images: a real registry has them, by platform and as lists over both."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import LISTS
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship.registry import MANIFEST_LIST
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import remove_names, wait_until
from fimg_pipeline_tests.rig.faults import between
from fimg_pipeline_tests.rig.registry import Registry

pytestmark = pytest.mark.engine

BASIC = ("fateflow", "fateboard", "eggroll")


@pytest.fixture(scope="module")
def pushing(fimg: Fimg, engine: Engine, hub: Registry) -> Iterator[Fimg]:
    """The command with names in that registry, all images of amd64 built."""
    command = replace(fimg, settings={**fimg.settings, "PREFIX": f"{hub.name}/fate"})
    command.succeeds("build", "all")
    yield command
    remove_names(engine, hub.name)


@pytest.fixture(scope="module")
def basic(pushing: Fimg) -> Fimg:
    """The same with only the basic images selected."""
    return replace(pushing, settings={**pushing.settings, **switches(Feature.BASIC)})


def manifest(hub: Registry, name: str, tag: str, namespace: str = "fate") -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{hub.name}/v2/{namespace}/{name}/manifests/{tag}",
        headers={"Accept": f"{MANIFEST_LIST}, application/vnd.docker.distribution.manifest.v2+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_everything_published_is_in_the_registry(pushing: Fimg, engine: Engine, hub: Registry) -> None:
    result = pushing("push")
    assert result.status == 0, result.output
    assert "27 images, every layer of them" in result.output
    assert re.search(r"sent [0-9a-f]{12} \(\d+\.\d MB\) to fate/\w+ in \d+\.\d s", result.output), (
        "nobody sees how far it is"
    )
    there = engine.state().by_reference
    for image in IMAGES.values():
        if image.published:
            built = there[f"{hub.name}/fate/{image.name}:demo"].image_id
            assert manifest(hub, image.name, "demo-amd64")["config"]["digest"] == built
            entries = manifest(hub, image.name, "demo")["manifests"]
            assert [entry["platform"]["architecture"] for entry in entries] == ["amd64"]
    with urllib.request.urlopen(f"http://{hub.name}/v2/_catalog?n=100", timeout=30) as answer:
        assert len(json.load(answer)["repositories"]) == 27


def test_what_is_there_is_not_pushed_again(pushing: Fimg) -> None:
    # That everything is built anew whenever it is built makes nothing outdated.
    result = pushing("push", Docker_Options="--no-cache")
    assert result.status == 0 and "images reused" in result.output, result.output


def test_a_tag_that_could_be_a_platforms_is_refused_before_anything_is_done(basic: Fimg) -> None:
    result = basic("push", TAG="demo-arm64")
    assert result.status == 1 and "TAG=demo-arm64 ends as the tags of arm64 do" in result.output, result.output


def test_a_tag_is_a_list_once_every_platform_is_there(basic: Fimg, engine: Engine, hub: Registry) -> None:
    basic.succeeds("build", "all", Platform="arm64")
    before = manifest(hub, "fateflow", "demo")
    # The other platform was built meanwhile, and is not pushed: the list would be missing it.
    result = basic("push")
    assert result.status == 0 and "fateflow was built for arm64" in result.output, result.output
    assert manifest(hub, "fateflow", "demo") == before
    result = basic("push", Platform="arm64")
    assert result.status == 0, result.output
    for name in BASIC:
        reference = f"{hub.name}/fate/{name}:demo"
        ids_by_platform = {}
        for platform in PLATFORMS:
            engine.sdk.images.pull(reference, platform=f"linux/{platform}")
            record = engine.inspect(reference)
            assert record is not None and record["Architecture"] == platform
            ids_by_platform[platform] = record["Id"]
        assert manifest(hub, name, "demo-arm64")["config"]["digest"] == ids_by_platform["arm64"]
        assert manifest(hub, name, "demo-amd64")["config"]["digest"] == ids_by_platform["amd64"]


def test_runs_of_the_web_ui_publish_the_same(basic: Fimg, hub: Registry) -> None:
    other = replace(basic, settings={**basic.settings, "PREFIX": f"{hub.name}/ui"})
    for platform in PLATFORMS:
        other.succeeds("build", "all", Platform=platform)
    for asset, partition in (*(("images", f"{platform}|demo") for platform in PLATFORMS), ("lists", "demo")):
        process = other.materialize(f'key:"registry/{asset}"', partition)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    for name in BASIC:
        entries = manifest(hub, name, "demo", "ui")["manifests"]
        assert [entry["platform"]["architecture"] for entry in entries] == list(PLATFORMS)
    with dg.DagsterInstance.from_config(str(other.home / "dagster")) as instance:
        (record,) = instance.fetch_materializations(LISTS, limit=1).records
    assert record.asset_materialization is not None
    linked = re.findall(
        r"^- \[(\w+)\]\((\S+)\) `sha256:", str(record.asset_materialization.metadata["in the registry"].value), re.M
    )
    assert {name for name, _ in linked} == set(BASIC)
    for _, page in linked:
        with urllib.request.urlopen(page, timeout=30) as answer:
            assert "demo" in json.load(answer)["tags"]


def test_a_registry_that_is_not_there_fails_the_run_with_what_to_do(basic: Fimg, hub: Registry) -> None:
    elsewhere = replace(basic, settings={**basic.settings, "PREFIX": "127.0.0.1:1/fate"})
    elsewhere.succeeds("build", "all")
    result = elsewhere("push")
    assert result.status == 1 and "127.0.0.1:1 can't be reached" in result.output, result.output
    assert "Traceback" not in result.output


def test_a_gate_that_stays_closed_fails_the_run_and_says_why(basic: Fimg, hub: Registry) -> None:
    basic.succeeds("push")
    others = {
        layer["digest"]
        for name in BASIC
        if name != "fateboard"
        for layer in manifest(hub, name, "demo-amd64")["layers"]
    }
    layer = next(layer for layer in manifest(hub, "fateboard", "demo-amd64")["layers"] if layer["digest"] not in others)
    hub.damage(layer["digest"], "truncate --size=10")
    result = basic("push")
    hub.damage(layer["digest"], "rm")
    told = f"has 10 bytes of {layer['digest']}, which has {layer['size']}: its storage is damaged"
    assert result.status == 1 and f"failed  images: fate/fateboard {told}\n" in result.output, result.output
    basic.succeeds("push")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_ends_early_is_completed_by_the_next(
    basic: Fimg, engine: Engine, hub: Registry, sent: signal.Signals
) -> None:
    with between(hub.name) as proxy:
        slow = replace(basic, settings={**basic.settings, "PREFIX": f"{proxy.name}/{sent.name.lower()}"})
        slow.succeeds("build", "all")
        proxy.latency = 2
        process = slow.start("push")
        wait_until(lambda: [path for method, path in proxy.seen if method == "PUT"], "nothing was sent")
        os.killpg(process.pid, sent)
        assert process.wait(timeout=60) == (130 if sent == signal.SIGINT else -sent)
        said = slow.said.read_text()
        assert (sent == signal.SIGKILL) or "interrupted; what was sent is kept" in said, said
        assert not [path for method, path in proxy.seen if method == "PUT" and "/manifests/" in path]
        proxy.latency = 0
        result = slow("push")
        assert result.status == 0 and "3 images, every layer of them" in result.output, result.output
        remove_names(engine, proxy.name)
