"""What is built and carried elsewhere by itself: sensors and a schedule in the daemon of the web UI, on real
repositories, a real engine and a real registry."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import OVERVIEW, SOURCE
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import SampleSource, commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import broken, remove_names
from fimg_pipeline_tests.rig.hook import SECRET, Hook, webhook
from fimg_pipeline_tests.rig.registry import Registry, registry
from fimg_pipeline_tests.rig.web import (
    ended,
    schedule_ticks,
    switch_on,
    switch_on_schedule,
    ticks,
    until,
    web_ui,
)
from fimg_pipeline_tests.source.repositories import git

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Place:
    """A pipeline of which all is built, its web UI (and daemon), and the registry it pushes to."""

    fimg: Fimg
    sample: SampleSource
    hub: Registry
    hook: Hook
    address: str

    def runs(self, sensor: str, known: set[str]) -> Callable[[], list[str]]:
        """Asks for the runs of a sensor that are not ``known``."""
        return lambda: [run for tick in ticks(self.address, sensor) for run in tick["runIds"] if run not in known]

    def next_run(self, sensor: str, known: set[str], seconds: float = 150) -> dg.DagsterRun:
        """The run a sensor asks for next, once it ended well."""
        (run,) = until(self.runs(sensor, known), seconds)
        return self.ended(run)

    def ended(self, run: str) -> dg.DagsterRun:
        assert ended(self.address, run, 240) == "SUCCESS", self.fimg.said.read_text()
        with dg.DagsterInstance.from_config(str(self.fimg.home / "dagster")) as instance:
            found = instance.get_run_by_id(run)
        assert found is not None
        return found

    def change(self, what: str) -> str:
        """A commit in the sample's proxy, of this moment: on the engine there may be what an earlier test made."""
        commit_change(self.sample.fate, "c/proxy/conf/note.conf", f"# {time.time()}\n", what)
        return git(self.sample.fate, "rev-parse", "HEAD")


def made(run: dg.DagsterRun) -> set[str]:
    assert run.asset_selection is not None
    return {"/".join(key.path) for key in run.asset_selection}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("automation")
    sample = create_sample(folder / "src")
    with registry() as hub, webhook() as hook:
        names = {"PREFIX": f"{hub.name}/fate", "TAG": "auto"}
        settings = {**names, "AFTER_BUILD": "push", "NOTIFY_URLS": hook.url, **switches(Feature.SPARK)}
        fimg = Fimg(folder, sample, settings)
        try:
            fimg.succeeds("build")
            fimg.builds()
            with web_ui(fimg) as (address, _):
                # The first look says what is there already.
                for sensor in ("releases", "commits"):
                    switch_on(address, sensor)
                    until(lambda sensor=sensor: ticks(address, sensor), 120)  # type: ignore[misc]
                yield Place(fimg, sample, hub, hook, address)
        finally:
            remove_names(engine, settings["PREFIX"])


def test_a_commit_is_built_by_itself_and_nothing_else(place: Place, engine: Engine) -> None:
    until(lambda: ticks(place.address, "commits")[-1]["status"] != "STARTED", 60)
    first = ticks(place.address, "commits")[-1]
    assert first["status"] == "SKIPPED" and "auto for amd64: up to date at" in first["skipReason"], first
    commit = place.change("A note in the proxy")
    run = place.next_run("commits", set())
    built = [re.findall(r"image\.title=(\S+)", build) for build in place.fimg.builds()]
    assert built == [["proxy"], ["nginx"]]
    assert made(run) == {"source", "package/proxy", "nginx"}
    assert run.tags["fimg/brings"].startswith(f"{commit[:12]} A note in the proxy (")
    with dg.DagsterInstance.from_config(str(place.fimg.home / "dagster")) as instance:
        source = instance.fetch_materializations(SOURCE, limit=1).records[0].asset_materialization
        assert source is not None
        (row,) = source.metadata["commits since then"].value.records  # type: ignore[union-attr]
        assert (row.data["commit"], row.data["subject"]) == (commit[:12], "A note in the proxy")

        def built_of() -> Any:
            found = instance.fetch_materializations(OVERVIEW, limit=1).records[0].asset_materialization
            (tag,) = found.metadata["tags"].value.records  # type: ignore[union-attr]
            return (tag.data["commit"], tag.data["images"]) == (commit[:12], f"{len(switched_on(place))} built")

        # The table of how all stands follows.
        until(built_of, 90)
    assert engine.inspect(f"{place.fimg.settings['PREFIX']}/nginx:auto") is not None
    (status,) = json.loads(place.fimg.succeeds("status", "--json"))
    assert (status["tag"], status["commit"]) == ("auto", commit)
    assert {image["state"] for image in status["images"]} == {"built"}


def switched_on(place: Place) -> list[str]:
    return [image["name"] for image in json.loads(place.fimg.succeeds("plan", "--json"))["images"]]


def test_what_is_built_is_pushed_by_itself_and_then_its_lists(place: Place) -> None:
    switch_on(place.address, "deliveries")
    pushed = place.next_run("deliveries", set())
    assert (pushed.job_name, made(pushed)) == ("publish", {"registry/images"})
    lists = place.next_run("deliveries", {pushed.run_id})
    assert (lists.job_name, made(lists)) == ("publish_lists", {"registry/lists"})
    until(lambda: "lists: in the registry" in (ticks(place.address, "deliveries")[0]["skipReason"] or ""), 150)
    url = f"http://{place.hub.name}/v2/fate/nginx/tags/list"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert sorted(json.load(answer)["tags"]) == ["auto", "auto-amd64"]


def test_people_hear_once_of_what_broke_and_once_that_it_works_again(place: Place) -> None:
    switch_on(place.address, "notifications")
    known = set(place.runs("commits", set())())
    with broken(place.fimg, "c/proxy/conf/nginx.conf", "worker_procesess 1;\n"):
        (failed,) = until(place.runs("commits", known), 150)
        assert ended(place.address, failed, 240) == "FAILURE"
        (told,) = until(lambda: place.hook.received, 150)
        assert told["title"] == "fimg: auto for amd64 is broken"
        first, brings, link = told["message"].splitlines()
        assert first.startswith("nginx: ") and "worker_procesess" in first
        assert re.fullmatch(r"with [0-9a-f]{12} Broken \(.+\)", brings) and link.endswith(f"/runs/{failed}")
    place.next_run("commits", {*known, failed}, 240)
    _, works = until(lambda: place.hook.received[1:] and place.hook.received, 150)
    assert works["title"] == "fimg: auto for amd64 works again"
    said = place.fimg.said.read_text() + json.dumps(ticks(place.address, "notifications"))
    assert SECRET not in said and "told: fimg: auto for amd64 works again" in said


def test_a_release_is_added_and_built_by_itself(place: Place) -> None:
    known = set(place.runs("commits", set())())
    git(place.sample.fate, "tag", "v1.11.9")
    run = place.next_run("commits", known, 360)
    assert run.tags["dagster/partition"] == "amd64|1.11.9-release"
    assert {"source", "nginx", *switched_on(place)} <= made(run)
    listed = json.loads(place.fimg.succeeds("tag", "list", "--json"))
    assert [(tag["tag"], tag["ref"]) for tag in listed] == [("auto", None), ("1.11.9-release", "v1.11.9")]


def test_a_night_builds_what_is_stale(place: Place) -> None:
    """Another web UI, whose night is in a moment and whose sensors look elsewhere: at no tag."""
    home = place.fimg.folder / "night"
    home.mkdir()
    fimg = replace(place.fimg, settings={**place.fimg.settings, "DAGSTER_HOME": str(home), "TAG": "night"})
    fimg.succeeds("build")
    fimg.builds()
    at = datetime.now(timezone.utc) + timedelta(minutes=4)  # a whole minute: at least three of them to start in
    fimg = replace(fimg, settings={**fimg.settings, "NIGHTLY_AT": f"{at:%H:%M}"})
    with web_ui(fimg) as (address, _):
        switch_on_schedule(address, "nightly")
        commit = place.change("Another note")
        (run,) = until(lambda: [run for tick in schedule_ticks(address, "nightly") for run in tick["runIds"]], 360)
        assert ended(address, run, 240) == "SUCCESS", fimg.said.read_text()
        with dg.DagsterInstance.from_config(str(home)) as instance:
            found = instance.get_run_by_id(run)
    assert found is not None and found.tags["dagster/partition"] == "amd64|night"
    assert made(found) == {"source", "package/proxy", "nginx"} and found.tags["fimg/commit"] == commit[:12]
