"""What is asked for, from what is planned, on record and was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.automation.stale import ATTEMPTS, NIGHTS, PAUSES, Attempt, Decision, Record, decide, items, stale
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.plan.model import Plan, Status
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline_tests.plan.samples import digest, engine_with, everything, make_settings, make_source

FEATURES = (Feature.BASIC, Feature.SPARK)
NOW = 1_000_000.0


def plan_of(before: Plan | None = None, **contents: str) -> Plan:
    """The plan for the sample with ``contents``, on an engine that has what ``before`` was for."""
    engine = engine_with(*(everything(before) if before else ()))
    return make_plan(make_settings(FEATURES), make_source(**contents), engine, digest)


def recorded(plan: Plan) -> dict[str, Record]:
    return {asset_name(item): Record(item.fingerprint, NOW - 500_000) for item in everything(plan)}


def names(plan: Plan, records: Mapping[str, Record]) -> list[str]:
    return [asset_name(item) for item in stale(plan, records)]


def decided(plan: Plan, records: Mapping[str, Record], attempts: Sequence[Attempt], now: float) -> Decision:
    return decide(items(stale(plan, records)), records, attempts, now)


def failed(plan: Plan, *, minutes_ago: float = 6000, cancelled: bool = False, only: tuple[str, ...] = ()) -> Attempt:
    """A run that was to make everything of ``plan`` (or ``only`` that) and made nothing."""
    wanted = {item.name: item.wanted for item in items(everything(plan))}
    return Attempt(
        {name: value for name, value in wanted.items() if not only or name in only}, NOW - minutes_ago * 60, cancelled
    )


def test_everything_at_first_packages_and_parents_before_what_needs_them() -> None:
    plan = plan_of()
    found = names(plan, {})
    assert found == [asset_name(item) for item in everything(plan)]
    assert found.index("base-image") < found.index("fateflow") < found.index("fateflow-spark")


def test_nothing_when_all_is_on_record_and_on_the_engine() -> None:
    plan = plan_of()
    assert names(plan_of(plan), recorded(plan)) == []


def test_a_change_asks_for_what_it_affects_alone() -> None:
    before = plan_of()
    assert names(plan_of(before, proxy="changed"), recorded(before)) == ["package/proxy", "nginx"]


def test_what_is_gone_from_the_engine_is_made_again_with_what_it_takes_in() -> None:
    plan = plan_of()
    nginx, proxy = plan.image("nginx"), plan.package("proxy")
    kept = [item for item in everything(plan) if item not in (nginx, proxy)]
    gone = make_plan(make_settings(FEATURES), make_source(), engine_with(*kept), digest)
    assert names(gone, recorded(plan)) == ["package/proxy", "nginx"]
    only_proxy = make_plan(make_settings(FEATURES), make_source(), engine_with(*kept, nginx), digest)
    assert names(only_proxy, recorded(plan)) == []


def test_a_name_that_another_tag_or_platform_has_is_left_to_it() -> None:
    plan = plan_of()
    unnamed = make_plan(make_settings(FEATURES), make_source(), engine_with(*everything(plan), named=False), digest)
    assert {image.status for image in unnamed.images} == {Status.REUSABLE}
    assert names(unnamed, recorded(plan)) == []


def test_an_image_that_failed_its_check_is_not_made() -> None:
    plan = plan_of()
    records = recorded(plan)
    records["nginx"] = replace(records["nginx"], passed=False)
    assert names(plan_of(plan), records) == ["nginx"]


def test_what_failed_is_tried_again_after_a_while_and_not_for_ever() -> None:
    plan = plan_of()
    told = []
    for tries in range(ATTEMPTS + 1):
        for minutes in (1, PAUSES[min(tries, len(PAUSES)) - 1] / 60 + 1):
            attempts = [failed(plan, minutes_ago=minutes), *[failed(plan)] * (tries - 1)] if tries else []
            decision = decided(plan, {}, attempts, NOW)
            told.append((tries, decision.waiting.get("nginx", "now")))
            assert set(decision.wanted) | set(decision.waiting) == {asset_name(item) for item in everything(plan)}
    assert told == [
        (0, "now"),
        (0, "now"),
        (1, "tried again in 4 min"),
        (1, "now"),
        (2, "tried again in 29 min"),
        (2, "now"),
        (3, "tried again in 359 min"),
        (3, "now"),
        (4, "tried again in 1439 min"),
        (4, "now"),
        (5, "tried again in 4319 min"),
        (5, "now"),
        (6, "tried 6 times: launch it by hand, or change what it is made of"),
        (6, "tried 6 times: launch it by hand, or change what it is made of"),
    ]


def test_what_hangs_on_others_is_tried_once_a_day_for_ever() -> None:
    plan = plan_of()
    wanted = items(stale(plan, {}))

    def tells(tries: int, minutes: float) -> str:
        attempts = [failed(plan, minutes_ago=minutes), *[failed(plan)] * (tries - 1)]
        return decide(wanted, {}, attempts, NOW, for_ever=True).waiting.get("nginx", "now")

    assert [tells(tries, 60) for tries in (2, 5, 50)] == ["now", "tried again in 1380 min", "tried again in 1380 min"]
    assert tells(50, 1441) == "now"
    assert not decide(wanted, {}, [failed(plan, minutes_ago=1)] * 50, NOW, for_ever=True).by_hand


def test_what_failed_keeps_back_what_stands_on_it_and_nothing_else() -> None:
    plan = plan_of()
    attempts = [failed(plan, only=("fateflow",))] * ATTEMPTS
    decision = decided(plan, {}, attempts, NOW)
    assert decision.waiting["fateflow-spark"] == "waits for fateflow"
    assert decision.waiting["spark-master"] == "waits for spark-base"
    # To what only waits for others nobody has to do anything.
    assert decision.by_hand == {"fateflow"}
    assert {"nginx", "eggroll", "base-image"} <= set(decision.wanted)


def test_a_change_of_what_failed_is_tried_at_once() -> None:
    before = plan_of()
    attempts = [failed(before, only=("package/proxy", "nginx"), minutes_ago=1)] * ATTEMPTS
    records = {name: record for name, record in recorded(before).items() if name not in ("package/proxy", "nginx")}
    assert not decided(plan_of(before), records, attempts, NOW).wanted
    assert set(decided(plan_of(before, proxy="changed"), records, attempts, NOW).wanted) == {"package/proxy", "nginx"}


def test_a_run_that_a_person_cancelled_is_not_asked_for_again() -> None:
    before = plan_of()
    plan = plan_of(before, proxy="changed")
    decision = decided(plan, recorded(before), [failed(plan, cancelled=True)], NOW)
    assert not decision.wanted and decision.waiting["nginx"].startswith("its run was cancelled")
    assert decision.by_hand == {"package/proxy", "nginx"}
    assert decided(plan_of(before, proxy="again"), recorded(before), [failed(plan, cancelled=True)], NOW).wanted


@pytest.mark.parametrize("ended", [NOW - 600_000, NOW - 700_000])
def test_a_revert_is_built_like_any_change(ended: float) -> None:
    """However often what it goes back to was built: something else was made of it since."""
    before, after = plan_of(), plan_of(proxy="changed")
    attempts = [Attempt(failed(before).wanted, ended - number) for number in range(10)]
    assert set(decided(plan_of(after), recorded(after), attempts, NOW).wanted) == {"package/proxy", "nginx"}


def test_clocks_that_were_ahead_keep_nothing_waiting_and_hide_nothing() -> None:
    before = plan_of()
    plan = plan_of(before, proxy="changed")
    tomorrow = [failed(plan, minutes_ago=-1440 - number) for number in range(ATTEMPTS)]
    assert decided(plan, recorded(before), tomorrow[:1], NOW).wanted
    assert not decided(plan, recorded(before), tomorrow, NOW).wanted
    records = {name: replace(record, at=NOW + 86_400) for name, record in recorded(before).items()}
    tries = [failed(plan, minutes_ago=minutes) for minutes in range(2000, 2000 + ATTEMPTS)]
    assert not decided(plan, records, tries, NOW).wanted


def test_runs_that_end_well_and_make_something_else_come_to_an_end() -> None:
    """Where runs find other settings than the sensor, for instance: each would be asked for by the next look."""
    plan = plan_of()
    records = {name: replace(record, fingerprint="other") for name, record in recorded(plan).items()}
    assert not decided(plan_of(plan), records, [failed(plan)] * ATTEMPTS, NOW).wanted


def test_runs_that_record_something_else_each_time_come_to_an_end() -> None:
    """Each record would have all tries before it count for nothing."""
    plan = plan_of()
    tries = [
        Attempt(failed(plan).wanted, NOW - 100_000 * number, began=NOW - 100_000 * number - 50)
        for number in (1, 2, 3, 4, 5)
    ]
    records = {name: Record(f"other {name}", NOW - 100_010) for name in recorded(plan)}
    assert not decided(plan_of(plan), records, tries, NOW).wanted
    assert decided(plan_of(plan), records, tries[:-1], NOW).wanted
    # What was made by hand, or by a run that was to make it, is a change.
    by_hand = {name: replace(record, at=NOW - 90_000) for name, record in records.items()}
    assert decided(plan_of(plan), by_hand, tries, NOW).wanted
    # Nor those that name it otherwise, though it is made of the same.
    named = {name: replace(record, reference="elsewhere/x:t") for name, record in recorded(plan).items()}
    named = {name: replace(record, at=NOW - 100_010) for name, record in named.items()}
    assert not decided(plan_of(plan), named, tries, NOW).wanted
    assert "nginx" in decided(plan_of(plan), named, tries[:-1], NOW).wanted


def test_what_is_to_have_another_name_was_not_tried_yet() -> None:
    plan = plan_of()
    elsewhere = make_settings(FEATURES, PREFIX="elsewhere")
    renamed = make_plan(elsewhere, make_source(), engine_with(*everything(plan)), digest)
    tries = [failed(plan)] * ATTEMPTS
    made = Attempt(failed(plan).wanted, NOW - 60, began=NOW - 120, made=frozenset(recorded(plan)))
    records = {
        item.name: Record(item.fingerprint, NOW - 90, reference=item.reference) for item in items(everything(plan))
    }
    found = decided(renamed, records, [made, *tries], NOW)
    assert found.wanted.keys() == {image.name for image in plan.images} and not found.waiting


def test_what_went_well_and_is_gone_again_was_no_try() -> None:
    plan = plan_of()
    wanted, made = failed(plan).wanted, frozenset(recorded(plan))
    tries = [Attempt(wanted, NOW - 100_000 * number, made=made) for number in range(1, 8)]
    records = {name: replace(record, at=0.0) for name, record in recorded(plan).items()}
    assert decided(plan_of(), records, tries, NOW).wanted.keys() == made


def test_what_is_made_and_does_not_pass_its_checks_is_not_made_for_ever() -> None:
    plan = plan_of()
    tries = [failed(plan, minutes_ago=minutes) for minutes in range(2000, 2000 + ATTEMPTS)]
    # Each of them made it, and the last one's check failed, too.
    for fingerprint in (plan.image("nginx").fingerprint, ""):
        records = recorded(plan) | {"nginx": Record(fingerprint, NOW - 60, passed=False)}
        found = decided(plan_of(plan), records, tries, NOW)
        assert not found.wanted and found.waiting["nginx"].startswith(f"tried {ATTEMPTS} times")
        assert decided(plan_of(plan), records, tries[:1], NOW).wanted


def test_once_more_is_for_what_failed_too_often_not_for_what_a_person_ended() -> None:
    plan = plan_of()
    to_make = items(stale(plan, {}))
    often = [failed(plan) for _ in range(ATTEMPTS)]
    assert not decide(to_make, {}, often, NOW).wanted
    assert len(decide(to_make, {}, often, NOW, once_more=True).wanted) == len(to_make)
    # Nor do nights try it for ever.
    assert len(decide(to_make, {}, often + [failed(plan)] * (NIGHTS - 1), NOW, once_more=True).wanted) == len(to_make)
    found = decide(to_make, {}, often + [failed(plan)] * NIGHTS, NOW, once_more=True)
    assert not found.wanted and found.waiting["nginx"].startswith("tried 13 times")
    ended = [failed(plan, minutes_ago=1, cancelled=True, only=("nginx",)), *often]
    found = decide(to_make, {}, ended, NOW, once_more=True)
    assert set(found.waiting) == {"nginx"} and "cancelled" in found.waiting["nginx"]


def test_what_something_new_needs_is_wanted_again_though_a_person_ended_it() -> None:
    """A tag that is followed is kept up to date: a change is not held up by what was cancelled before it."""
    before = plan_of()
    cancelled = [failed(before, cancelled=True)]
    assert not decided(before, {}, cancelled, NOW).wanted
    after = plan_of(fateflow="changed")
    found = decided(after, {}, cancelled, NOW)
    assert {"package/fateflow", "base-image", "fateflow"} <= set(found.wanted)
    assert "nginx" in found.waiting and "package/proxy" in found.waiting


def test_what_waits_for_something_else_does_not_bring_back_what_a_person_ended() -> None:
    plan = plan_of()
    # The package fails, so that its image was never begun; then the run of the base alone is ended.
    attempts = [
        failed(plan, minutes_ago=1, cancelled=True, only=("base-image",)),
        *[failed(plan, minutes_ago=2, only=("package/fateflow",)) for _ in range(ATTEMPTS)],
    ]
    some = [item for item in items(stale(plan, {})) if item.name in ("package/fateflow", "base-image", "fateflow")]
    found = decide(some, {}, attempts, NOW)
    assert not found.wanted and "cancelled" in found.waiting["base-image"]
