"""What is carried elsewhere once it is built, and what is not: real repositories, an engine made by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.publishing import DIGESTS, PREFIX
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation.deliveries import Delivery, deliveries
from fimg_pipeline.automation.jobs import build_jobs
from fimg_pipeline.automation.run_requests import REQUEST
from fimg_pipeline.automation.sensors import sensors
from fimg_pipeline.automation.watching import Watched, unfinished
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import SettingsError
from fimg_pipeline.source.store import Remotes
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import Handmade, environ_of
from fimg_pipeline_tests.plan.samples import digest, engine_with, make_source
from fimg_pipeline_tests.rig.command import switches

BUNDLES = {"bundle/fate", "bundle/third-party"}


@pytest.fixture
def built(sample: SampleSource, tmp_path: Path) -> Any:
    """A pipeline for two platforms of which everything is built."""
    environ = environ_of(sample, tmp_path, WATCHED_PLATFORMS="amd64,arm64", AFTER_BUILD="push")
    with dg.DagsterInstance.ephemeral() as instance:
        found = Handmade(tmp_path, environ, instance)
        build(found)
        yield found


def build(pipeline: Handmade, tag: str = "t") -> None:
    for platform in ("amd64", "arm64"):
        pipeline.build(tag, platform)


def tick(pipeline: Handmade) -> list[Delivery]:
    busy, watched = unfinished(pipeline.instance), pipeline.survey()
    by_tag = {each.tag: [other for other in watched if other.tag == each.tag] for each in watched}
    return [
        delivery
        for platforms in by_tag.values()
        for delivery in deliveries(pipeline.instance, platforms, pipeline.memory.ledger, busy, time.time())
    ]


def asked(found: Iterable[Delivery]) -> dict[tuple[str, str], set[str]]:
    """What is asked for, by job and partition."""
    return {
        (str(each.job_name), str(each.partition_key)): {"/".join(key.path) for key in each.asset_selection or ()}
        for delivery in found
        for each in delivery.requests
    }


def carry(pipeline: Handmade, found: Iterable[Delivery], *, fails: Iterable[str] = ()) -> None:
    """Has the runs that are asked for done, all but those that are to fail."""
    for delivery in found:
        for request in delivery.requests:
            names = {"/".join(key.path) for key in request.asset_selection or ()}
            broken = bool(names & set(fails))
            run(pipeline.instance, request, broken=broken)
            if broken:
                continue
            for name, fingerprint in wanted_by(pipeline, request).items():
                made = dg.AssetMaterialization(
                    dg.AssetKey(name.split("/")),
                    partition=str(request.partition_key),
                    tags={FINGERPRINT: fingerprint},
                    metadata=pushed(pipeline, str(request.partition_key)) if name == "registry/images" else {},
                )
                pipeline.instance.report_runless_asset_event(made)


def pushed(pipeline: Handmade, partition: str) -> dict[str, Any]:
    """What a push records of what it pushed: all that is planned."""
    platform, _, tag = partition.partition("|")
    settings = pipeline.settings(Platform=platform, TAG=tag)
    plan = pipeline.plan(settings)
    digests = {name: {"digest": f"sha256:{name}", "fingerprint": plan.image(name).fingerprint} for name in plan.push}
    return {PREFIX: settings.prefix, DIGESTS: dg.MetadataValue.json(digests)}


def wanted_by(pipeline: Handmade, request: dg.RunRequest) -> dict[str, str]:
    """What a run is to make, with the fingerprints it was written down with."""
    file = pipeline.settings().home / "sources" / request.tags[REQUEST] / ".wanted.json"
    found: dict[str, str] = json.loads(file.read_text())
    return found


def run(instance: dg.DagsterInstance, request: dg.RunRequest, *, broken: bool) -> None:
    """A run with the tags it was asked for with."""

    @dg.op
    def work() -> None:
        if broken:
            raise RuntimeError("no route to host")

    @dg.job
    def job() -> None:
        work()

    tags = {**request.tags, "dagster/partition": str(request.partition_key)}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(instance=instance, tags=tags, raise_on_error=False, run_config=quiet)


def test_images_then_the_lists_and_then_nothing(built: Handmade) -> None:
    found = tick(built)
    assert asked(found) == {("publish", f"{platform}|t"): {"registry/images"} for platform in ("amd64", "arm64")}
    assert found[-1].told == "t, its lists: wait for amd64, arm64 to be pushed"
    carry(built, found[:1])
    assert asked(tick(built)) == {("publish", "arm64|t"): {"registry/images"}}
    carry(built, tick(built))
    found = tick(built)
    assert asked(found) == {("publish_lists", "t"): {"registry/lists"}}
    carry(built, found)
    assert [each.told for each in tick(built)] == [
        "t for amd64: all is where it belongs",
        "t for arm64: all is where it belongs",
        "t, its lists: in the registry",
    ]


def test_what_was_pushed_by_hand_of_another_platform_is_on_the_lists_too(built: Handmade) -> None:
    for _ in range(2):
        carry(built, tick(built))
    built.environ["WATCHED_PLATFORMS"] = "amd64"
    assert not asked(tick(built))


def test_lists_wait_for_what_was_built_of_another_platform(built: Handmade) -> None:
    """They would be refused."""
    built.environ["WATCHED_PLATFORMS"] = "amd64"
    carry(built, tick(built))
    found = tick(built)
    assert not asked(found) and "wait for `fimg push`" in found[-1].told and "was built for arm64" in found[-1].told


def test_what_is_carried_is_what_a_plan_would(built: Handmade) -> None:
    """What is on record stands for a plan that need not be made."""
    for features in combinations(Feature, 3):
        built.environ |= switches(*features)
        for platform in PLATFORMS:
            settings = built.settings(Platform=platform)
            plan = make_plan(settings, make_source(), engine_with(), digest)
            watched = Watched(platform, "t", settings, {}, None, engine_with, Remotes())  # type: ignore[arg-type]
            assert watched.published == list(plan.push) == list(plan.bundle)


def test_a_change_waits_for_its_build_and_then_follows(sample: SampleSource, built: Handmade) -> None:
    for _ in range(2):
        carry(built, tick(built))
    assert not asked(tick(built))
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    found = tick(built)
    assert not asked(found)
    assert found[0].told == "t for amd64: 2 to be built first" and "wait for amd64, arm64" in found[-1].told
    build(built)
    assert set(asked(tick(built))) == {("publish", "amd64|t"), ("publish", "arm64|t")}


def test_what_does_not_stand_on_what_is_to_be_built_does_not_wait_for_it(sample: SampleSource, built: Handmade) -> None:
    built.environ |= {"AFTER_BUILD": "push,bundle", "WATCHED_PLATFORMS": "amd64"}
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy that never builds")
    assert tick(built)[0].told == "t for amd64: 2 to be built first"
    request = built.look()["t"].request
    assert request is not None
    run(built.instance, request, broken=True)
    # What failed holds up what needs it.
    found = tick(built)
    assert asked(found) == {("bundle", "amd64|t"): {"bundle/third-party"}}
    assert found[0].told.endswith("registry/images waits for nginx; bundle/fate waits for nginx")


def test_another_registry_is_another_place(built: Handmade) -> None:
    for _ in range(2):
        carry(built, tick(built))
    assert not asked(tick(built))
    built.environ["PREFIX"] = "elsewhere"
    # Of another name the images are to be made first, which costs nothing but the name.
    build(built)
    assert set(asked(tick(built))) == {("publish", "amd64|t"), ("publish", "arm64|t")}


def test_bundles_of_another_prefix_or_in_another_folder_are_others(built: Handmade, tmp_path: Path) -> None:
    built.environ |= {"AFTER_BUILD": "bundle", "WATCHED_PLATFORMS": "amd64"}
    carry(built, tick(built))
    assert not asked(tick(built))
    built.environ["PREFIX"] = "elsewhere"
    build(built)
    found = tick(built)
    assert asked(found) == {("bundle", "amd64|t"): {"bundle/fate"}}
    carry(built, found)
    built.environ["BUNDLE_DIR"] = str(tmp_path / "elsewhere")
    assert asked(tick(built)) == {("bundle", "amd64|t"): BUNDLES}


def test_each_goes_on_when_another_fails(built: Handmade) -> None:
    built.environ |= {"AFTER_BUILD": "push, bundle", "WATCHED_PLATFORMS": "amd64"}
    found = tick(built)
    assert asked(found) == {("publish", "amd64|t"): {"registry/images"}, ("bundle", "amd64|t"): BUNDLES}
    carry(built, found, fails=["registry/images"])
    found = tick(built)
    assert not asked(found)
    assert found[0].told == "t for amd64: registry/images tried again in 5 min"
    assert found[1].told == "t, its lists: wait for amd64 to be pushed"


def test_bundles_are_those_of_what_is_built_now(sample: SampleSource, built: Handmade) -> None:
    built.environ |= {"AFTER_BUILD": "bundle", "WATCHED_PLATFORMS": "amd64"}
    carry(built, tick(built))
    assert not asked(tick(built))
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    build(built)
    # Others' images did not change.
    assert asked(tick(built)) == {("bundle", "amd64|t"): {"bundle/fate"}}
    built.environ["THIRD_PARTY_IMAGES"] = "mysql:8.0.29"
    assert asked(tick(built)) == {("bundle", "amd64|t"): BUNDLES}


def test_app_images_are_registered_anew_when_the_image_or_the_file_changes(built: Handmade, tmp_path: Path) -> None:
    file = tmp_path / "app-images.yaml"
    entry = "{image: nginx, mode: p2p, user: x, name: web}"
    file.write_text(f"app_images: [{entry}]")
    built.environ |= {"AFTER_BUILD": "register", "KUSCIA_APP_IMAGES": str(file)}
    # Of arm64 the file says nothing.
    assert asked(tick(built)) == {("register", "amd64|t"): {"kuscia/app_images"}}
    carry(built, tick(built))
    assert not asked(tick(built))
    file.write_text(f"app_images: [{entry.replace('web', 'site')}]")
    assert asked(tick(built)) == {("register", "amd64|t"): {"kuscia/app_images"}}


def test_a_file_of_app_images_that_is_wrong_keeps_nothing_else_from_its_end(built: Handmade, tmp_path: Path) -> None:
    file = tmp_path / "app-images.yaml"
    built.environ |= {
        "AFTER_BUILD": "push,register",
        "KUSCIA_APP_IMAGES": str(file),
        "WATCHED_PLATFORMS": "amd64",
    }
    for text, told in (
        ("app_images: [{image: ngin", "kuscia/app_images can't be made: "),
        ("app_images: [{image: client, mode: p2p, user: x}]", "names client, which the switches don't select"),
    ):
        file.write_text(text)
        found = tick(built)
        assert asked(found) == {("publish", "amd64|t"): {"registry/images"}}
        assert told in found[0].told


def test_a_release_is_carried_too_unless_it_would_be_built_otherwise_today(built: Handmade) -> None:
    home = built.settings().home
    record(home, "1.11.2-release", "v1.11.2")
    built.environ["WATCHED_PLATFORMS"] = "amd64"
    assert "to be built first" in tick(built)[2].told
    built.build("1.11.2-release")
    assert asked([tick(built)[2]]) == {("publish", "amd64|1.11.2-release"): {"registry/images"}}
    # By its own names, whatever PREFIX is now.
    built.environ["PREFIX"] = "elsewhere"
    assert asked([tick(built)[2]]) == {("publish", "amd64|1.11.2-release"): {"registry/images"}}
    del built.environ["PREFIX"]
    # As when recipes changed, or the engine was emptied.
    built.made, made = [], built.made
    found = tick(built)[2]
    assert not found.requests and "build it by hand first" in found.told
    # What needs none of them goes on.
    built.environ["AFTER_BUILD"] = "push, bundle"
    found = tick(built)[2]
    assert asked([found]) == {("bundle", "amd64|1.11.2-release"): {"bundle/third-party"}}
    assert "build it by hand first" in found.told
    built.environ["AFTER_BUILD"] = "push"
    built.made = made
    carry(built, [tick(built)[2]])
    built.made = []
    assert tick(built)[2].told == "1.11.2-release for amd64: all is where it belongs"


def test_what_is_not_committed_is_not_carried(sample: SampleSource, built: Handmade) -> None:
    (sample.fate / "c/proxy/conf/note.conf").write_text("# not yet\n")
    found = tick(built)
    assert not asked(found) and "not committed" in found[0].told


def test_nothing_is_carried_unless_it_is_said(built: Handmade) -> None:
    built.environ["AFTER_BUILD"] = ""
    sensor = next(each for each in sensors(build_jobs(built.settings())) if each.name == "deliveries")
    with dg.build_sensor_context(instance=built.instance) as context:
        found = sensor(context, pipeline=built)
    assert isinstance(found, dg.SkipReason) and "AFTER_BUILD is not set" in str(found.skip_message)
    built.environ["AFTER_BUILD"] = "push"
    # Nobody had made the tag a partition, of which alone Dagster makes runs.
    with dg.build_sensor_context(instance=built.instance) as context:
        result: Any = sensor(context, pipeline=built)
    assert [request.partition_key for request in result.run_requests] == [
        partition_key("amd64", "t"),
        partition_key("arm64", "t"),
    ]


@pytest.mark.parametrize(
    ("text", "told"), [("pusch", "must be of push, bundle, register"), ("register", "register needs KUSCIA_APP_IMAGES")]
)
def test_what_follows_is_checked(built: Handmade, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        built.settings(AFTER_BUILD=text)
    assert built.settings(AFTER_BUILD="bundle,push, push").deliveries == ("push", "bundle")
