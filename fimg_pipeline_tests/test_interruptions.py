"""Runs that are killed or interrupted, engines that die: nothing looks finished, and the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.steps import POOL
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change
from fimg_pipeline_tests.rig.command import Fimg
from fimg_pipeline_tests.rig.demo import changed, ids, wait_for_build
from fimg_pipeline_tests.rig.engine import second_engine

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("delay", [0.0, 0.7, 2.0])
def test_a_killed_run_leaves_nothing_that_looks_finished(fimg: Fimg, engine: Engine, delay: float) -> None:
    before = ids(engine)
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# kill {delay} {time.time()}\n", "Change")
    fimg.builds()
    process = fimg.start("build", "--image", "nginx")
    wait_for_build(fimg, "title=proxy")
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert changed(before, ids(engine)) <= {"nginx"}
    again = fimg("build", "--image", "nginx")
    assert again.status == 0, again.output
    plan = json.loads(fimg("plan", "--json", "--image", "nginx").output)
    assert [image["status"] for image in plan["images"]] == ["current"]
    assert unfinished(fimg) == (0, 0), "a run whose process is gone is closed by the next one, and gives its place back"


def unfinished(fimg: Fimg) -> tuple[int, int]:
    """How many runs have begun and not ended, and how many places of the pool are taken."""
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        runs = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        return len(runs), instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


def test_a_run_of_dagsters_own_that_is_killed_does_not_block_the_next(fimg: Fimg) -> None:
    """As the web UI's runs when the machine goes down: Dagster itself would take them for alive for ever."""
    assert fimg("build", "--image", "nginx").status == 0
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# ui {time.time()}\n", "Change")
    fimg.builds()
    process = fimg.materialize('key:nginx or key:"package/proxy"', "amd64|demo")
    wait_for_build(fimg, "title=proxy")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    runs, places = unfinished(fimg)
    assert runs == 1 and places > 0
    again = fimg("build", "--image", "nginx", timeout=120)
    assert again.status == 0, again.output
    assert unfinished(fimg) == (0, 0)


@pytest.mark.parametrize(
    ("send", "asked", "status"),
    [(os.killpg, signal.SIGINT, 130), (os.killpg, signal.SIGHUP, 129), (os.kill, signal.SIGTERM, 143)],
    ids=["^C", "hang-up", "kill"],
)
def test_an_interrupted_run_says_so_and_keeps_what_was_finished(
    fimg: Fimg, engine: Engine, send: Callable[[int, int], None], asked: signal.Signals, status: int
) -> None:
    before = ids(engine)
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# interrupt {time.time()}\n", "Change")
    fimg.builds()
    process = fimg.start("build", "--image", "nginx")
    wait_for_build(fimg, "title=proxy")
    send(process.pid, asked)
    assert process.wait(timeout=120) == status
    assert "interrupted; what was finished is kept" in fimg.said.read_text()
    # Among what is put away: mirrors' passwords, as the build had them.
    assert not list((fimg.home / "scratch").iterdir())
    assert changed(before, ids(engine)) <= {"nginx"}
    assert fimg("build", "--image", "nginx").status == 0


def test_a_killed_engine_is_told_and_the_next_run_completes(fimg: Fimg, engine: Engine, tmp_path: Path) -> None:
    with second_engine() as second:
        second.load(BASES["debian"].local_reference(engine.platform))
        other = replace(
            fimg,
            folder=tmp_path / "fimg",
            settings={**fimg.settings, "DOCKER_HOST": second.host, "Docker_Options": "--network=host"},
        )
        other.folder.mkdir()
        process = other.start("build", "--image", "nginx")
        wait_for_build(other, "title=nginx")
        time.sleep(3)
        second.kill()
        assert process.wait(timeout=120) == 1
        said = other.said.read_text()
        assert "failed  nginx" in said and "Traceback" not in said, said
        second.start()
        result = other("build", "--image", "nginx")
        assert result.status == 0, result.output
