"""A tag's images on two engines: amd64 on this one, arm64 on another, and what they share by a registry."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.catalog.bases import BASES, ExternalBase
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.bases import ensure_base, wanted_bases
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline.settings import load
from fimg_pipeline.ship.registry import MANIFEST_LIST
from fimg_pipeline_tests.rig.command import Fimg, environment, switches
from fimg_pipeline_tests.rig.demo import remove_names
from fimg_pipeline_tests.rig.elsewhere import Elsewhere, elsewhere
from fimg_pipeline_tests.rig.registry import Registry
from fimg_pipeline_tests.rig.web import ended, schedule_ticks, switch_on, switch_on_schedule, ticks, until, web_ui

pytestmark = pytest.mark.deployment

BASIC = ("fateflow", "fateboard", "eggroll")


@pytest.fixture(scope="module")
def other(hub: Registry, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """Has the same base images: they are made here from packages, where other machines pull them."""
    settings = load()
    bases = [
        ensure_base(base, platform, settings, engine, log=print).local
        for base, platform in wanted_bases("arm64", engine.platform)
    ]
    with elsewhere(hub, tmp_path_factory.mktemp("keys"), environment()) as started:
        saved = subprocess.run([engine.cli, "save", *bases], stdout=subprocess.PIPE, check=True)
        started("load", given=saved.stdout)
        yield started


@pytest.fixture(scope="module")
def fimg(hub: Registry, other: Elsewhere, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fimg]:
    """The command whose images for arm64 are built on the other engine."""
    folder = tmp_path_factory.mktemp("engines")
    names = {"PREFIX": f"{hub.name}/fate", "SHARED_REGISTRY": f"{hub.name}/build", "TAG": "two", "BASE_TAG": "two"}
    own = {name: other.environment[name] for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")}
    settings = {**names, **own, "DOCKER_HOST_ARM64": other.tcp, **switches(Feature.BASIC)}
    yield Fimg(folder, create_sample(folder / "src"), settings)
    remove_names(engine, hub.name)


def ids(listed: str) -> dict[str, str]:
    """Of ``docker images``: id by name."""
    lines = (json.loads(line) for line in listed.splitlines())
    return {f"{line['Repository']}:{line['Tag']}": line["ID"] for line in lines}


LIST = ("images", "--no-trunc", "--format", "{{json .}}")


def forget(other: Elsewhere) -> dict[str, str]:
    """Takes all that was built off the other engine; what that was, by name."""
    there = ids(other(*LIST))
    built = {name: value for name, value in there.items() if re.search(r"/(image|package|fate)/", name)}
    other("rmi", "--force", *built)
    return built


def test_a_tags_images_are_spread_over_both_and_one_tag(
    fimg: Fimg, other: Elsewhere, engine: Engine, hub: Registry
) -> None:
    for platform in ("amd64", "arm64"):
        fimg.succeeds("build", "all", Platform=platform)
        fimg.succeeds("push", Platform=platform)
    here, there = engine.state().by_reference, ids(other(*LIST))
    for name in BASIC:
        reference = f"{hub.name}/fate/{name}:two"
        request = urllib.request.Request(
            f"http://{hub.name}/v2/fate/{name}/manifests/two", headers={"Accept": MANIFEST_LIST}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            entries = {each["platform"]["architecture"]: each for each in json.load(answer)["manifests"]}
        built = {"amd64": here[reference].image_id, "arm64": there[reference]}
        assert engine.inspect(built["arm64"]) is None, "what is for the other engine is only there"
        assert entries.keys() == built.keys() and here[reference].platform == "amd64"
        for platform, image_id in built.items():
            engine.sdk.images.pull(f"{hub.name}/fate/{name}", tag=entries[platform]["digest"])
            record = engine.inspect(f"{hub.name}/fate/{name}@{entries[platform]['digest']}")
            assert record is not None and (record["Id"], record["Architecture"]) == (image_id, platform)


def test_an_engine_that_lacks_something_has_it_from_the_registry(fimg: Fimg, other: Elsewhere) -> None:
    before = forget(other)
    fimg.builds()
    assert "images: 0 built" in fimg.succeeds("build", "all", Platform="arm64")
    after = ids(other(*LIST))
    assert {name: after[name] for name in before} == before and fimg.builds() == []


def test_what_stands_on_something_from_the_registry_is_built_on_it(fimg: Fimg, other: Elsewhere) -> None:
    """Of a new engine only what changed is built."""
    forget(other)
    # That nobody has built before, on any engine.
    commit_change(fimg.sample.fate, "python/fate_arch/note.py", f'NOTE = "{uuid.uuid4()}"\n', "A note")
    fimg.builds()
    fimg.succeeds("build", "all", Platform="arm64")
    titles = re.findall(r"image\.title=(\S+)", "\n".join(fimg.builds()))
    assert sorted(titles) == ["eggroll", "fate", "fateflow"]


def test_the_results_are_those_of_one_engine(fimg: Fimg, other: Elsewhere, hub: Registry, tmp_path: Path) -> None:
    """Another machine, whose one engine builds for both, has the same fingerprints and gets the same images."""
    alone = {name: value for name, value in fimg.settings.items() if name != "DOCKER_HOST_ARM64"}
    one = replace(fimg, folder=tmp_path, settings={**alone, "PREFIX": f"{hub.name}/alone"})
    plans: list[Any] = [json.loads(each.succeeds("plan", "--json", Platform="arm64"))["images"] for each in (fimg, one)]
    fingerprints = [{image["name"]: image["fingerprint"] for image in plan} for plan in plans]
    assert fingerprints[0] == fingerprints[1]
    assert "images: 0 built" in one.succeeds("build", "all", Platform="arm64") and one.builds() == []
    here, there = Engine().state().by_reference, ids(other(*LIST))
    # What this engine has built itself at some time it keeps.
    for name in ("fateflow", "eggroll"):
        assert here[f"{hub.name}/alone/{name}:two"].image_id == there[f"{hub.name}/fate/{name}:two"]


def test_what_each_builds_by_itself_holds_the_same(
    fimg: Fimg, other: Elsewhere, engine: Engine, hub: Registry, tmp_path: Path
) -> None:
    """Nothing is shared: every file, its rights and its owner, of two builds. Times are when each was made."""
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# {uuid.uuid4()}\n", "A note")

    def here(*arguments: str) -> str:
        return subprocess.run([engine.cli, *arguments], capture_output=True, text=True, check=True).stdout

    alone = {name: value for name, value in fimg.settings.items() if name != "SHARED_REGISTRY"}
    one = {name: value for name, value in alone.items() if name != "DOCKER_HOST_ARM64"}
    found = []
    for which, docker, settings in ("two", other, alone), ("one", here, one):
        builder = replace(fimg, folder=tmp_path / which, settings={**settings, "PREFIX": f"{hub.name}/{which}"})
        builder.folder.mkdir()
        said = builder.succeeds("build", "--image", "nginx", Platform="arm64")
        assert "images: 1 built" in said, said
        found.append(contents(docker, f"{hub.name}/{which}/nginx:two", tmp_path / f"{which}.tar"))
    assert found[0] == found[1] and len(found[0]) > 1000


def contents(docker: Callable[..., str], image: str, file: Path) -> dict[str, tuple[object, ...]]:
    """All that a container of ``image`` has at its start, by path; ``file`` is written for it."""
    container = docker("create", image, "true").strip()
    docker("export", "--output", str(file), container)
    docker("rm", container)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(file) as archive:
        for each in archive:
            data = archive.extractfile(each) if each.isreg() else None
            digest = "" if data is None else hashlib.sha256(data.read()).hexdigest()
            found[each.name] = (each.type, each.mode, each.uid, each.gid, each.linkname, digest)
    return found


def test_it_is_the_same_by_ssh(fimg: Fimg, other: Elsewhere) -> None:
    path = f"{other.environment['DOCKER_CERT_PATH']}/bin:{fimg.environment['PATH']}"
    own = {"DOCKER_HOST_ARM64": other.ssh, "Platform": "arm64", "PATH": path}
    by_ssh = replace(fimg, settings={**fimg.settings, **own})
    assert "images: 0 built" in by_ssh.succeeds("build", "all")
    (engine,) = [each for each in json.loads(by_ssh("doctor", "--json").output) if each["part"] == "engine"]
    assert engine["verdict"] == "ok" and engine["told"].endswith(f"at {other.ssh}")


def test_a_base_that_its_registry_has_anew_is_built_on_at_night(
    fimg: Fimg, other: Elsewhere, engine: Engine, hub: Registry, tmp_path: Path
) -> None:
    """On an engine of its own, since all tags of an engine share its bases."""
    python = BASES["python"]
    for base in BASES.values():
        hub.push(base.local_reference(engine.platform), f"library/{base.reference.partition(':')[0]}", tag_of(base))
    names = {"PREFIX": f"{hub.name}/based", "TAG": "based", "BASE_TAG": "based", "Platform": engine.platform}
    here = replace(fimg, folder=tmp_path, settings={**fimg.settings, **names, **switches(Feature.FUM)})
    here.succeeds("build")
    own = {"DOCKER_HOST": other.tcp, "DOCKER_HUB_MIRROR": hub.name, "FIMG_HOME": str(tmp_path / "there")}
    at = datetime.now(timezone.utc) + timedelta(minutes=5)
    there = replace(here, settings={**here.settings, **own, "NIGHTLY_AT": f"{at:%H:%M}"})
    assert "images: 0 built" in there.succeeds("build") and there.builds() == []

    recipe = io.BytesIO(f"FROM {python.local_reference(engine.platform)}\nLABEL note=new\n".encode())
    made: Any = engine.sdk.images.build(fileobj=recipe, rm=True)
    digest = hub.push(made[0].id, "library/python", tag_of(python))
    with web_ui(there) as (address, _):
        switch_on(address, "bases")
        switch_on_schedule(address, "nightly")
        until(lambda: f"{python.reference} is {digest}" in str(ticks(address, "bases")), 120)
        (status,) = json.loads(there("status", "--json").output)
        assert {image["why"] for image in status["images"]} == {f"there is a newer {python.reference}"}
        (run,) = until(lambda: [run for tick in schedule_ticks(address, "nightly") for run in tick["runIds"]], 400)
        assert ended(address, run, 600) == "SUCCESS", there.said.read_text()
    assert sorted(re.findall(r"image\.title=(\S+)", "\n".join(there.builds()))) == [
        "base-image",
        "fate-upgrade-manager",
    ]
    labels = other("inspect", "--format", "{{json .Config.Labels}}", f"{hub.name}/based/fate-upgrade-manager:based")
    assert json.loads(labels)["note"] == "new"
    assert "0 to build" in there.succeeds("plan")


def tag_of(base: ExternalBase) -> str:
    return base.reference.partition(":")[2]
