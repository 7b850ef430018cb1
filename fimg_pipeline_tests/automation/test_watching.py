"""What a look at the watched tags says and asks for: real repositories, a Dagster instance, an engine made by hand."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import OVERVIEW
from fimg_pipeline.assets.partitions import known_tags, partition_key
from fimg_pipeline.automation import commits as commits_module
from fimg_pipeline.automation import watching
from fimg_pipeline.automation.overview import write_now
from fimg_pipeline.automation.run_requests import look
from fimg_pipeline.automation.schedules import schedules
from fimg_pipeline.automation.status import State, status
from fimg_pipeline.automation.watching import Memory
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.dockerfiles import recipe_digest
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.model import EngineState, Plan
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings, SettingsError
from fimg_pipeline.source import store
from fimg_pipeline.source.git import Git
from fimg_pipeline.source.store import ObjectStore, Remotes
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import NOW, Handmade, selected
from fimg_pipeline_tests.plan.samples import engine_with
from fimg_pipeline_tests.rig.command import switches
from fimg_pipeline_tests.source.repositories import git

#: Nobody listens there.
AWAY = "http://127.0.0.1:1/x.git"


def test_a_release_that_only_the_origin_has_is_built_once_too(
    sample: SampleSource, tmp_path: Path, watched: Handmade
) -> None:
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    watched.environ["FATE_DIR"] = str(tmp_path / "clone")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    git(sample.fate, "tag", "v1.11.9")
    record(watched.settings().home, "1.11.9-release", "v1.11.9")
    found = watched.look()["1.11.9-release"]
    assert found.request is not None and found.request.tags["fimg/commit"] == git(sample.fate, "rev-parse", "HEAD")[:12]
    watched.build("1.11.9-release")
    watched.made = []
    assert watched.look()["1.11.9-release"].told.startswith("built at ")


def test_a_tag_of_something_else_than_a_commit_keeps_no_other_from_being_looked_at(
    sample: SampleSource, tmp_path: Path, watched: Handmade
) -> None:
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    watched.environ["FATE_DIR"] = str(tmp_path / "clone")
    git(sample.fate, "tag", "v1.11.9", "HEAD^{tree}")
    record(watched.settings().home, "1.11.9-release", "v1.11.9")
    found = watched.look()
    assert found["t"].request is not None and found["1.11.9-release"].request is None
    assert "can't be looked at" in found["1.11.9-release"].told


def test_a_repository_that_is_away_keeps_what_does_not_need_it_from_nothing(watched: Handmade) -> None:
    """Intel's library is only for amd64."""
    watched.environ |= {**switches(Feature.IPCL), "WATCHED_PLATFORMS": "amd64,arm64", "IPCL_URL": AWAY}
    for _ in range(2):
        found = {each.partition: look(watched.instance, each, NOW) for each in watched.survey()}
        assert "can't be asked for its refs" in found["amd64|t"].told
        assert found["arm64|t"].request is not None


def test_a_platform_whose_engine_is_away_keeps_no_other_from_being_looked_at(watched: Handmade) -> None:
    watched.environ |= {"WATCHED_PLATFORMS": "amd64,arm64", "DOCKER_HOST_ARM64": "tcp://arm.example:2376"}
    record(watched.settings().home, "other", None)
    asked: list[str | None] = []

    def away(address: str | None = None) -> EngineState:
        asked.append(address)
        if address is not None:
            raise FimgError("no engine there")
        return engine_with()

    watched.engine_state = away  # type: ignore[method-assign]
    found = {each.partition: look(watched.instance, each, NOW) for each in watched.survey()}
    assert found["amd64|t"].request is not None and "no engine there" in found["arm64|other"].told
    assert asked == [None, "tcp://arm.example:2376"], "one that is away is asked once"


def test_an_engine_that_hangs_is_not_asked_at_every_look(watched: Handmade, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    clock = [0.0]

    def hangs(address: str | None = None) -> EngineState:
        asked.append(address)
        clock[0] += 15
        raise EngineUnreachableError("it did not say what it holds")

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watched.engine_state = hangs  # type: ignore[method-assign]
    for _ in range(3):
        assert "it did not say" in watched.look()["t"].told
    assert len(asked) == 1
    clock[0] += 200
    watched.look()
    assert len(asked) == 2


def test_a_release_stays_built_while_its_engine_is_away(watched: Handmade) -> None:
    record(watched.settings().home, "1.11.2-release", "v1.11.2")
    watched.build("1.11.2-release")

    def away(address: str | None = None) -> EngineState:
        raise EngineUnreachableError("no engine there")

    watched.engine_state = away  # type: ignore[method-assign]
    found = {each.tag: status(watched.instance, each) for each in watched.survey()}
    assert {image.state for image in found["1.11.2-release"].images} == {State.BUILT}
    assert (found["t"].problem, found["t"].passing) == ("no engine there", True)


def test_what_nobody_thought_of_keeps_no_other_tag_from_being_looked_at(
    watched: Handmade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record(watched.settings().home, "other", None)
    plan = watched.plan

    def odd(settings: Settings, *arguments: Any) -> Plan:
        if settings.tag == "other":
            raise ValueError("a commit without a day")
        return plan(settings, *arguments)

    monkeypatch.setattr(watched, "plan", odd)
    found = watched.look()
    assert found["t"].request is not None
    assert found["other"].told == "can't be looked at: unexpected ValueError: a commit without a day"
    assert "amd64|other can't be planned" in caplog.text


def test_an_origin_that_is_away_is_asked_once_for_all_and_keeps_no_other_waiting(
    sample: SampleSource, watched: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(sample.fate, "remote", "add", "origin", AWAY)
    for tag, ref in (("a", "origin/a"), ("b", "origin/b"), ("1.11.9-release", "v1.11.9"), ("mine", "HEAD")):
        record(watched.settings().home, tag, ref)
    asked: list[Sequence[str]] = []
    run = Git.run

    def counted(self: Git, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        if "ls-remote" in arguments:
            asked.append(arguments)
        return run(self, *arguments, **more)

    monkeypatch.setattr(Git, "run", counted)
    for _ in range(2):
        found = watched.look()
        assert found["t"].request is not None and found["mine"].request is not None
        for tag in ("a", "b", "1.11.9-release"):
            assert "can't be asked for its refs" in found[tag].told
    assert len(asked) == 1, "asked again, or for each"
    # After a while it is asked again.
    monkeypatch.setattr(store, "_AWAY_SECONDS", 0.0)
    watched.look()
    assert len(asked) == 2


def test_an_origin_is_asked_once_for_all_branches(
    sample: SampleSource, tmp_path: Path, watched: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    watched.environ |= {"FATE_DIR": str(tmp_path / "clone"), "WATCHED_PLATFORMS": "amd64,arm64"}
    for name in ("a", "b", "c"):
        git(sample.fate, "branch", name)
        record(watched.settings().home, name, f"origin/{name}")
    asked: list[str] = []
    ask = ObjectStore._asked

    def counted(self: ObjectStore, url: str, *more: Any) -> dict[str, str]:
        asked.append(url)
        return ask(self, url, *more)

    monkeypatch.setattr(ObjectStore, "_asked", counted)
    found = {each.partition: look(watched.instance, each, NOW) for each in watched.survey()}
    assert all(each.request is not None for each in found.values()) and len(asked) == 1
    watched.environ["WATCHED_PLATFORMS"] = "amd64"
    watched.build("b")
    assert watched.look()["b"].told.startswith("up to date at")
    git(sample.fate, "checkout", "-q", "b")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    assert selected(watched.look()["b"]) == {"source", "package/proxy", "nginx"}, "what it said is kept"


def test_releases_that_only_the_origin_has_are_asked_for_at_once(
    sample: SampleSource, tmp_path: Path, watched: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "-q", "--no-tags", str(sample.fate), "clone")
    watched.environ["FATE_DIR"] = str(tmp_path / "clone")
    for number in range(5):
        git(sample.fate, "tag", f"v1.12.{number}")
        record(watched.settings().home, f"1.12.{number}-release", f"v1.12.{number}")
    record(watched.settings().home, "1.13.0-release", "v1.13.0")
    asked: list[list[str]] = []
    ask = watched.origin_tags

    def counted(settings: Settings, refs: Sequence[str], remotes: Remotes) -> Mapping[str, str]:
        asked.append(list(refs))
        return ask(settings, refs, remotes)

    monkeypatch.setattr(watched, "origin_tags", counted)
    found = {each.tag: each for each in watched.survey()}
    commit = git(sample.fate, "rev-parse", "HEAD")
    assert {found[f"1.12.{number}-release"].fixed for number in range(5)} == {commit} and len(asked) == 1
    problem = found["1.13.0-release"].problem
    assert problem is not None and "nor its origin a tag of that name" in problem.message
    watched.survey()
    assert asked[1:] == [["v1.13.0"]]


def test_a_fate_dir_that_hangs_holds_up_no_look(watched: Handmade, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one on a file system whose server is gone: no signal ends what reads it."""
    monkeypatch.setattr(watching, "_READING", 0.2)
    asked: list[int] = []

    def hangs(*_: object) -> dict[str, str]:
        asked.append(1)
        threading.Event().wait(60)
        return {}

    monkeypatch.setattr(type(watched), "fixed_commits", hangs)
    for _ in range(3):
        began = time.monotonic()
        (each,) = watched.survey()
        assert time.monotonic() - began < 10 and each.passing
        assert each.problem is not None and "can't be read: nothing came within" in each.problem.message
    assert asked == [1]


def test_nights_are_for_what_is_followed(tmp_path: Path, watched: Handmade) -> None:
    record(watched.settings().home, "1.11.2-release", "v1.11.2")
    assert set(watched.look()) == {"t", "1.11.2-release"}
    settings = watched.settings(NIGHTLY_AT="23:15", TIME_ZONE="Asia/Shanghai")
    nightly = next(each for each in schedules(settings) if each.name == "nightly")
    assert (nightly.cron_schedule, nightly.execution_timezone) == ("15 23 * * *", "Asia/Shanghai")
    at = datetime(2026, 11, 26, 23, 15, tzinfo=timezone.utc)
    # What schedules are given opens the instance itself.
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as watched.instance,
        dg.build_schedule_context(instance=watched.instance, scheduled_execution_time=at) as context,
    ):
        requests: Any = nightly(context, pipeline=watched)
        (request,) = requests
        assert request.partition_key == partition_key("amd64", "t") and "nginx" in str(request.asset_selection)
        assert request.run_key == "2026-11-26 t amd64"
        assert known_tags(watched.instance) == ["t", "1.11.2-release"]
        watched.build()
        skipped = nightly(context, pipeline=watched)
    assert isinstance(skipped, dg.SkipReason) and "t for amd64: up to date at" in str(skipped.skip_message)


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("NIGHTLY_AT", "24:00", "must be a time of day"),
        ("NIGHTLY_AT", "2", "must be a time of day"),
        ("TIME_ZONE", "../../etc/passwd", "must be a time zone"),
        ("TIME_ZONE", "Mars", "must be a time zone"),
        ("WATCHED_PLATFORMS", "amd64,riscv", "must be amd64 or arm64"),
    ],
)
def test_settings_of_automation_are_checked(watched: Handmade, variable: str, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        watched.settings(**{variable: text})


def test_a_schedule_says_that_nothing_can_be_looked_at(tmp_path: Path, watched: Handmade) -> None:
    watched.settings().home.mkdir()
    (watched.settings().home / "tags.json").write_text("{")
    by_name: dict[str, Any] = {each.name: each for each in schedules(watched.settings())}
    at = datetime(2026, 11, 26, 23, 15, tzinfo=timezone.utc)
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context,
    ):
        told = by_name["nightly"](context, pipeline=watched).skip_message
        assert told.startswith("nothing can be looked at: ") and "tags.json is damaged" in told
        # Of which the next time is a week later: that is to be seen.
        with pytest.raises(FimgError, match=r"tags.json is damaged"):
            by_name["refresh"](context, pipeline=watched)


def test_platforms_are_those_of_builds_unless_it_is_said(watched: Handmade) -> None:
    assert watched.settings(Platform="arm64").watched_platforms == ("arm64",)
    assert watched.settings(WATCHED_PLATFORMS="arm64, amd64,arm64").watched_platforms == ("arm64", "amd64")


def test_a_tag_that_can_not_be_looked_at_keeps_no_other_from_it(watched: Handmade) -> None:
    record(watched.settings().home, "nightly", "origin/develop")
    found = watched.look()
    assert found["nightly"].request is None
    assert found["nightly"].told.startswith("can't be looked at: TAG=nightly stands for origin/develop")
    assert found["t"].request is not None


def test_recipes_are_read_anew_by_each_look(watched: Handmade) -> None:
    """They may change under a process that lives for weeks; runs, which are new ones, would see others."""
    recipe_digest("modules/nginx")
    watched.survey()
    assert recipe_digest.cache_info().currsize == 0


def test_a_fate_dir_that_is_gone_is_a_problem_of_every_tag(tmp_path: Path, watched: Handmade) -> None:
    record(watched.settings().home, "mine", "HEAD")
    watched.environ["FATE_DIR"] = str(tmp_path / "gone")
    for each in watched.survey():
        found = status(watched.instance, each)
        # A file system may be away.
        assert "is not a folder" in found.problem and found.passing


def test_of_a_run_of_a_whole_job_all_is_being_built(watched: Handmade) -> None:
    def building(name: str) -> set[State]:
        job = dg.JobDefinition(name=name, graph_def=dg.GraphDefinition(name=name))
        run = watched.instance.create_run_for_job(job, tags={"dagster/partition": str(partition_key("amd64", "t"))})
        (each,) = watched.survey()
        found = {image.state for image in status(watched.instance, each).images}
        watched.instance.report_run_canceled(run)
        return found

    assert building("build_amd64") == {State.BUILDING}
    assert building("publish") == {State.MISSING}


def test_a_tag_may_be_called_as_a_file_is(watched: Handmade) -> None:
    record(watched.settings().home, "wanted.json", None)
    for _ in range(2):
        assert watched.look()["wanted.json"].request is not None


def test_what_is_damaged_is_said_in_the_tick(watched: Handmade) -> None:
    home = watched.settings().home
    home.mkdir(exist_ok=True)
    (home / "freshness.json").write_text("damaged")
    with dg.build_sensor_context(instance=watched.instance) as context:
        found = commits_module.commits(context, pipeline=watched)
    assert isinstance(found, dg.SkipReason) and "freshness.json is damaged" in str(found.skip_message)


@pytest.mark.parametrize("ref", ["HEAD", "refs/heads/other", "other"])
def test_whatever_a_ref_that_moves_is_called_it_is_followed(sample: SampleSource, watched: Handmade, ref: str) -> None:
    git(sample.fate, "checkout", "-q", "-b", "other")
    record(watched.settings().home, "mine", ref)
    watched.build("mine")
    assert watched.look()["mine"].told.startswith("up to date at")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    assert selected(watched.look()["mine"]) == {"source", "package/proxy", "nginx"}


def test_a_tick_goes_on_where_the_last_one_had_no_time(watched: Handmade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOKING", -1.0)
    monkeypatch.setattr(commits_module, "_MEMORY", Memory())
    monkeypatch.setattr(commits_module, "_STATUSES", {})
    for tag in ("a", "b"):
        record(watched.settings().home, tag, None)
    cursor, asked, written = None, [], []
    for _ in range(4):
        with dg.build_sensor_context(instance=watched.instance, cursor=cursor) as context:
            found = commits_module.commits(context, pipeline=watched)
        assert isinstance(found, dg.SensorResult)
        cursor = found.cursor
        asked += [request.partition_key for request in found.run_requests or ()]
        written.append(bool(found.asset_events))
    assert asked == [partition_key("amd64", tag) for tag in ("t", "a", "b", "t")]
    # How all stands is written once all was looked at.
    assert written == [False, False, True, True]


def test_how_all_stands_is_written_when_it_is_asked_for_and_another_than_before(watched: Handmade) -> None:
    pipeline: Any = watched

    def images() -> list[str]:
        """Of each time it was written, the last first."""
        write_now(watched.instance, pipeline)
        found: Any = watched.instance.fetch_materializations(OVERVIEW, limit=10).records
        return [each.asset_materialization.metadata["tags"].value.records[0].data["images"] for each in found]

    count = len(watched.survey()[0].selected)
    assert images() == images() == [f"{count} missing"]
    watched.build()
    assert images() == [f"{count} built", f"{count} missing"]
