"""Two that look at the same moment ask once; whoever is lost is asked for again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.partitions import add_tag, remove_tag
from fimg_pipeline.automation.claims import claimed
from fimg_pipeline.automation.run_requests import REQUEST

NOW = 1_000_000.0


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        for tag in ("a", "b"):
            add_tag(found, tag)
        yield found


def request(where: str, key: str) -> dg.RunRequest:
    return dg.RunRequest(partition_key=where, tags={REQUEST: key})


def run(instance: dg.DagsterInstance, where: str, key: str) -> dg.DagsterRun:
    """The run of a request, which the daemon has created."""
    job = dg.JobDefinition(name="build", graph_def=dg.GraphDefinition(name="build"))
    return instance.create_run_for_job(job, tags={"dagster/partition": where, REQUEST: key})


def test_what_somebody_else_is_about_to_get_is_not_asked_for(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    one, two = request("amd64|a", "k1"), request("amd64|b", "k2")
    assert claimed(instance, tmp_path, "commits", [one], NOW) == [one]
    assert claimed(instance, tmp_path, "nightly", [one, two], NOW + 1) == [two]
    # Runs are created one after the other, which takes as long as it does.
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 300) == []
    made = run(instance, "amd64|a", "k1")
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 301) == []
    instance.report_run_canceled(made)
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 302) == [one]


def test_a_run_that_came_and_went_since_a_look_began_is_not_asked_for_again(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one = request("amd64|a", "k1")
    assert claimed(instance, tmp_path, "commits", [one], NOW) == [one]
    instance.report_run_canceled(run(instance, "amd64|a", "k1"))
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 5) == []


def test_for_a_tag_that_was_removed_meanwhile_nothing_is_asked(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Dagster would refuse what the tick asks for of all others, too."""
    one, two = request("amd64|a", "k1"), request("amd64|b", "k2")
    remove_tag(instance, "a")
    assert claimed(instance, tmp_path, "commits", [one, two], NOW) == [two]
    add_tag(instance, "a")
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 1) == [one]


def test_a_tick_that_was_lost_is_made_up_for(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    one = request("amd64|a", "k1")
    assert claimed(instance, tmp_path, "commits", [one], NOW) == [one]
    # By itself at once, by others when no run came of it for long.
    assert claimed(instance, tmp_path, "commits", [one], NOW + 1) == [one]
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 599) == []
    assert claimed(instance, tmp_path, "nightly", [one], NOW + 1000) == [one]


def test_a_run_that_was_of_the_same_before_is_not_taken_for_the_one_to_come(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one = request("amd64|a", "k1")
    instance.report_run_canceled(run(instance, "amd64|a", "k1"))
    now = time.time() + 100
    assert claimed(instance, tmp_path, "nightly", [one], now) == [one]
    assert claimed(instance, tmp_path, "commits", [one], now + 120) == []


def test_a_run_is_taken_for_the_one_to_come_as_soon_as_it_is_there(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one, now = request("amd64|a", "k1"), time.time()
    assert claimed(instance, tmp_path, "nightly", [one], now) == [one]
    instance.report_run_canceled(run(instance, "amd64|a", "k1"))
    assert claimed(instance, tmp_path, "commits", [one], now + 61) == [one]


def test_a_look_may_ask_for_several_runs_of_a_partition(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    both = [request("amd64|a", "push"), request("amd64|a", "bundle")]
    assert claimed(instance, tmp_path, "deliveries", both, NOW) == both
    instance.report_run_canceled(run(instance, "amd64|a", "push"))
    assert claimed(instance, tmp_path, "commits", both, NOW + 100) == []
    instance.report_run_canceled(run(instance, "amd64|a", "bundle"))
    assert claimed(instance, tmp_path, "commits", both, NOW + 100) == both


@pytest.mark.parametrize("text", ["", "damaged", "[]", '{"amd64|a": {"by": "x"}}'])
def test_what_is_damaged_keeps_nobody(instance: dg.DagsterInstance, tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.json").write_text(text)
    one = request("amd64|a", "k1")
    assert claimed(instance, tmp_path, "commits", [one], NOW) == [one]


def test_by_a_clock_that_was_ahead_nobody_waits(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    one = request("amd64|a", "k1")
    assert claimed(instance, tmp_path, "commits", [one], NOW + 86_400) == [one]
    assert claimed(instance, tmp_path, "nightly", [one], NOW) == [one]
