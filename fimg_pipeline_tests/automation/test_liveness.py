"""Runs whose process died are told from those that live, whatever became of the process's number."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.automation.liveness import TAG_COMMAND, close_abandoned_runs

POOL = "a_pool"
#: Shows a run alive until it is told to end, or killed.
_HOLDER = """
import sys
import dagster as dg
from fimg_pipeline.automation.liveness import alive
with dg.DagsterInstance.from_config(sys.argv[1]) as instance, alive(instance, sys.argv[2]):
    print("alive", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


def start_holder(instance: dg.DagsterInstance, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _HOLDER, instance.root_directory, name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"alive\n"
    return process


def start_run(instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> str:
    """A run that has begun and has the only place of a pool."""

    @dg.job
    def nothing() -> None:
        """Does nothing."""

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "a_step").is_claimed
    return run.run_id


def state(instance: dg.DagsterInstance, run_id: str) -> tuple[dg.DagsterRunStatus, int]:
    """The run's status and how many places are taken."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status, instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


def test_a_killed_run_is_closed_and_gives_its_place_back(instance: dg.DagsterInstance) -> None:
    run_id = start_run(instance)
    holder = start_holder(instance, run_id)
    assert close_abandoned_runs(instance) == []
    assert state(instance, run_id) == (dg.DagsterRunStatus.STARTED, 1)
    holder.kill()
    holder.wait()
    assert close_abandoned_runs(instance) == [run_id]
    assert state(instance, run_id) == (dg.DagsterRunStatus.FAILURE, 0)
    assert close_abandoned_runs(instance) == []


def test_a_run_dies_with_the_command_that_executes_it(instance: dg.DagsterInstance) -> None:
    holder = start_holder(instance, "c0ffee")
    run_id = start_run(instance, {TAG_COMMAND: "c0ffee"})
    assert close_abandoned_runs(instance) == []
    holder.kill()
    holder.wait()
    assert close_abandoned_runs(instance) == [run_id]


def test_a_run_that_lives_is_let_be_though_it_inherited_the_tag_of_a_dead_command(
    instance: dg.DagsterInstance,
) -> None:
    dead = start_holder(instance, "c0ffee")
    dead.kill()
    dead.wait()
    run_id = start_run(instance, {TAG_COMMAND: "c0ffee"})
    living = start_holder(instance, run_id)
    assert close_abandoned_runs(instance) == []
    assert state(instance, run_id) == (dg.DagsterRunStatus.STARTED, 1)
    living.communicate(b"")


def test_a_tag_is_no_path(instance: dg.DagsterInstance) -> None:
    victim = Path(instance.root_directory) / "victim"
    victim.touch()
    dead = start_holder(instance, "dead")
    dead.kill()
    dead.wait()
    start_run(instance, {TAG_COMMAND: "../victim"})
    assert close_abandoned_runs(instance) == []
    assert victim.exists()


def test_runs_without_a_file_here_are_let_be(instance: dg.DagsterInstance) -> None:
    run_id = start_run(instance)
    assert close_abandoned_runs(instance) == []
    assert state(instance, run_id) == (dg.DagsterRunStatus.STARTED, 1)


def test_a_run_that_ends_leaves_no_file(instance: dg.DagsterInstance) -> None:
    holder = start_holder(instance, "ended")
    holder.communicate(b"")
    assert holder.returncode == 0
    assert list((Path(instance.root_directory) / "alive").iterdir()) == []
