"""Runs whose process died are told from those that live, whatever became of the process's number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets import liveness
from fimg_pipeline.assets.liveness import TAG_COMMAND, alive, close_abandoned_runs, ending_with

POOL = "a_pool"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


@dataclass(frozen=True)
class Holder:
    """A process of its own that shows a run alive until it is told to end, or killed."""

    pid: int
    to_it: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert os.waitpid(self.pid, 0)[1] == signal.SIGKILL

    def end(self) -> None:
        os.close(self.to_it)
        assert os.waitpid(self.pid, 0)[1] == 0


def start_holder(instance: dg.DagsterInstance, name: str) -> Holder:
    """Forked, since Dagster's import would take longer than the test."""
    (waits, ends), (ready, says) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(ends)
            with alive(instance, name):
                os.write(says, b"alive")
                os.read(waits, 1)
            status = 0
        finally:
            os._exit(status)
    os.close(waits)
    os.close(says)
    assert os.read(ready, 5) == b"alive"
    os.close(ready)
    return Holder(pid, ends)


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
    assert close_abandoned_runs(instance) == [run_id]
    assert state(instance, run_id) == (dg.DagsterRunStatus.FAILURE, 0)
    assert close_abandoned_runs(instance) == []


def test_a_run_dies_with_the_command_that_executes_it(instance: dg.DagsterInstance) -> None:
    holder = start_holder(instance, "c0ffee")
    run_id = start_run(instance, {TAG_COMMAND: "c0ffee"})
    assert close_abandoned_runs(instance) == []
    holder.kill()
    assert close_abandoned_runs(instance) == [run_id]


def test_a_run_that_lives_is_let_be_though_it_inherited_the_tag_of_a_dead_command(
    instance: dg.DagsterInstance,
) -> None:
    dead = start_holder(instance, "c0ffee")
    dead.kill()
    run_id = start_run(instance, {TAG_COMMAND: "c0ffee"})
    living = start_holder(instance, run_id)
    assert close_abandoned_runs(instance) == []
    assert state(instance, run_id) == (dg.DagsterRunStatus.STARTED, 1)
    living.end()


def test_a_tag_is_no_path(instance: dg.DagsterInstance) -> None:
    victim = Path(instance.root_directory) / "victim"
    victim.touch()
    dead = start_holder(instance, "dead")
    dead.kill()
    start_run(instance, {TAG_COMMAND: "../victim"})
    assert close_abandoned_runs(instance) == []
    assert victim.exists()


def test_runs_without_a_file_here_are_let_be(instance: dg.DagsterInstance) -> None:
    run_id = start_run(instance)
    assert close_abandoned_runs(instance) == []
    assert state(instance, run_id) == (dg.DagsterRunStatus.STARTED, 1)


def test_a_run_that_ends_leaves_no_file(instance: dg.DagsterInstance) -> None:
    holder = start_holder(instance, "ended")
    holder.end()
    assert list((Path(instance.root_directory) / "alive").iterdir()) == []


def start_step(instance: dg.DagsterInstance, run_id: str) -> int:
    """A process that would work on for ever as a step of that run; its number."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with ending_with(instance, run_id):
                time.sleep(60)
        finally:
            os._exit(0)
    return pid


def test_a_step_ends_with_the_run_that_is_killed(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_WATCHED_EVERY", 0.05)
    run = start_holder(instance, "run")
    step, of_none = start_step(instance, "run"), start_step(instance, "closed already")
    assert os.waitpid(of_none, 0)[1] == signal.SIGTERM
    assert os.waitpid(step, os.WNOHANG) == (0, 0)
    run.kill()
    assert os.waitpid(step, 0)[1] == signal.SIGTERM


def test_a_run_that_nobody_began_is_closed_after_a_while(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.job
    def nothing() -> None:
        """Does nothing."""

    made = instance.create_run_for_job(nothing).run_id
    by_a_command = instance.create_run_for_job(nothing, tags={TAG_COMMAND: "command"}).run_id
    with alive(instance, "command"):
        assert close_abandoned_runs(instance) == []
        monkeypatch.setattr(liveness, "_BEGUN_WITHIN", timedelta(0))
        assert close_abandoned_runs(instance) == [made]
    run = instance.get_run_by_id(by_a_command)
    assert run is not None and run.status is dg.DagsterRunStatus.NOT_STARTED
