"""How images stand, from what is planned, on record and was tried."""

from __future__ import annotations

from dataclasses import replace

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.automation.overview import identity, metadata
from fimg_pipeline.automation.stale import Record
from fimg_pipeline.automation.status import ImageStatus, PartitionStatus, State, UnderWay, as_json, image_states
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline.progress import Event, Outcomes
from fimg_pipeline_tests.plan.samples import digest, engine_with, everything, make_settings, make_source

FEATURES = (Feature.BASIC, Feature.SPARK)


def plan_of(before: Plan | None = None, **contents: str) -> Plan:
    engine = engine_with(*(everything(before) if before else ()))
    return make_plan(make_settings(FEATURES), make_source(**contents), engine, digest)


def recorded(plan: Plan) -> dict[str, Record]:
    return {asset_name(item): Record(item.fingerprint, 1000.0, commit="c" * 40) for item in everything(plan)}


def run(name: str, *events: Event) -> Outcomes:
    found = Outcomes(name)
    for event in events:
        found.add(event)
    return found


def states(found: tuple[ImageStatus, ...]) -> dict[str, tuple[str, str]]:
    return {image.name: (image.state.value, image.why) for image in found}


def test_what_was_never_built_is_missing_and_what_was_is_built() -> None:
    assert set(states(image_states(plan_of(), {}, [])).values()) == {("missing", "not built yet")}
    before = plan_of()
    found = image_states(plan_of(before), recorded(before), [])
    assert set(states(found).values()) == {("built", "")}
    assert {(image.at, image.commit) for image in found} == {(1000.0, "c" * 40)}


def test_what_changed_is_stale_with_what_did() -> None:
    before = plan_of()
    found = states(image_states(plan_of(before, proxy="x"), recorded(before), []))
    assert found["nginx"] == ("stale", "changed: package proxy") and found["fateboard"] == ("built", "")


def test_what_is_on_the_engine_and_not_on_record_says_so() -> None:
    before = plan_of()
    found = states(image_states(plan_of(before), {}, []))
    assert found["nginx"] == ("missing", "it is on the engine, but not on record for this tag")
    records = recorded(before) | {"nginx": Record("other", 1000.0), "eggroll": Record("x", 1.0, passed=False)}
    found = states(image_states(plan_of(before), records, []))
    assert found["nginx"] == ("stale", "it is on the engine, but on record is what it was before")
    assert found["eggroll"] == ("missing", "a check failed")


def test_what_failed_says_why_in_which_run_and_what_it_holds_up() -> None:
    plan = plan_of()
    last = run("2" * 8, Event("image", "base-image", "failed", 1.0, "\npip: no such package\nmore"))
    found = image_states(plan, {}, [last])
    by_name = {image.name: image for image in found}
    assert by_name["base-image"] == ImageStatus("base-image", State.FAILED, "pip: no such package", run="2" * 8)
    assert by_name["fateflow"].why == by_name["spark-worker"].why == "it stands on base-image, which failed"
    assert by_name["nginx"].why == "not built yet"


def test_a_package_that_failed_is_told_at_its_image() -> None:
    last = run("r", Event("package", "proxy", "failed", 1.0, "no such file"))
    found = states(image_states(plan_of(), {}, [last]))
    assert found["nginx"] == ("failed", "package proxy: no such file")


def test_what_waits_for_a_person_says_so_and_what_stands_on_it_does_not() -> None:
    last = run("r", Event("package", "proxy", "failed", 1.0, "no such file"))
    waiting = {"package/proxy": "tried 6 times", "base-image": "its run was cancelled"}
    found = states(image_states(plan_of(), {}, [last], waiting=waiting))
    assert found["nginx"] == ("failed", "package proxy: no such file; package/proxy: tried 6 times")
    assert found["base-image"] == ("missing", "not built yet; its run was cancelled")
    assert found["fateflow"] == ("missing", "not built yet")


def test_only_the_last_try_counts() -> None:
    failed, built = Event("image", "nginx", "failed", 1.0, "no"), Event("image", "nginx", "built", 1.0)
    plan = plan_of()
    assert states(image_states(plan, {}, [run("2", built), run("1", failed)]))["nginx"][0] == "missing"
    assert states(image_states(plan, {}, [run("2", failed), run("1", built)]))["nginx"][0] == "failed"
    # A run that never came to it says nothing.
    assert states(image_states(plan, {}, [run("3"), run("2", failed)]))["nginx"][0] == "failed"


def test_what_stands_on_a_base_of_which_there_is_a_newer_one_is_stale() -> None:
    before = plan_of()
    found = states(image_states(replace(plan_of(before), newer_bases=("bullseye",)), recorded(before), []))
    assert found["eggroll"] == ("stale", "there is a newer debian:bullseye-slim")
    assert found["nginx"] == ("built", "")


def test_what_a_run_has_before_it_is_being_built() -> None:
    now = run("n", Event("image", "base-image", "built", 1.0), Event("image", "nginx", "failed", 1.0, "no"))
    now.add(Event("image", "fateflow", "started"))
    selection = frozenset({"base-image", "nginx", "fateflow", "eggroll"})
    before = plan_of()
    found = states(image_states(before, {}, [], UnderWay(now, selection)))
    assert (found["fateflow"][0], found["eggroll"][0]) == ("building", "building")
    assert found["nginx"] == ("failed", "no") and found["base-image"][0] == "missing"
    assert found["fateboard"] == ("missing", "not built yet")


def test_what_a_platform_can_not_have_has_its_reason() -> None:
    settings = make_settings((Feature.IPCL,), Platform="arm64")
    found = states(image_states(make_plan(settings, make_source(), engine_with(), digest), {}, []))
    state, why = found["base-image-ipcl"]
    assert state == "unbuildable" and why and found["eggroll-ipcl"][0] == "unbuildable"


def test_scripts_get_every_image_with_times_as_text() -> None:
    image = ImageStatus("nginx", State.STALE, "changed", 86_400.0, "c" * 40)
    found = PartitionStatus("amd64", "t", (image,), "d" * 40)
    assert as_json([found]) == [
        {
            "tag": "t",
            "platform": "amd64",
            "commit": "d" * 40,
            "problem": None,
            "images": [
                {
                    "name": "nginx",
                    "state": "stale",
                    "why": "changed",
                    "at": "1970-01-02T00:00:00+00:00",
                    "commit": "c" * 40,
                    "run": None,
                }
            ],
        }
    ]


def test_the_table_has_a_row_for_each_tag_and_for_what_is_not_as_it_should_be() -> None:
    failed = ImageStatus("nginx", State.FAILED, "no", run="abcdefghij")
    images = (ImageStatus("eggroll", State.BUILT, at=86_400.0), failed)
    found = [PartitionStatus("amd64", "t", images, "d" * 40), PartitionStatus("arm64", "t", problem="no such ref")]
    told = metadata(found)
    first, second = (record.data for record in told["tags"].value.records)
    assert (first["images"], first["commit"]) == ("1 built, 1 failed", "d" * 12)
    assert second["problem"] == "no such ref"
    (row,) = (record.data for record in told["not built"].value.records)
    assert (row["image"], row["state"], row["why"], row["run"]) == ("nginx", "failed", "no", "abcdefgh")
    assert told["built"] == 1 and "not listed" not in told
    assert metadata([replace(found[0], images=images[:1])])["not built"] == "nothing: all is as it should be"
    many = tuple(replace(failed, name=f"image-{number}") for number in range(300))
    assert metadata([replace(found[0], images=many)])["not listed"] == 100


def test_the_table_is_written_again_only_when_something_changed() -> None:
    found = PartitionStatus("amd64", "t", (ImageStatus("nginx", State.BUILT, at=1.0),))
    assert identity([found]) == identity([replace(found)])
    assert identity([found]) != identity([replace(found, commit="d" * 40)])
