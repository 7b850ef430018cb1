"""What a look at the watched tags says and asks for: real repositories, a Dagster instance, an engine made by hand."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import OVERVIEW, SOURCE
from fimg_pipeline.assets.partitions import known_tags, partition_key
from fimg_pipeline.assets.records import COMMIT
from fimg_pipeline.automation import commits as commits_module
from fimg_pipeline.automation import watching
from fimg_pipeline.automation.overview import passing, problems, tabled
from fimg_pipeline.automation.run_requests import REQUEST, Look, look
from fimg_pipeline.automation.schedules import schedules
from fimg_pipeline.automation.stale import PAUSES
from fimg_pipeline.automation.status import PartitionStatus, State, status
from fimg_pipeline.automation.watching import Memory
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.dockerfiles import recipe_digest
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.model import EngineState, Plan
from fimg_pipeline.plan.planner import needed_packages
from fimg_pipeline.plan.selection import select
from fimg_pipeline.progress import KILLED, Event, report
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings, SettingsError
from fimg_pipeline.source import store
from fimg_pipeline.source.git import Git
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.store import ObjectStore, Remotes
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import NOW, Handmade, environ_of
from fimg_pipeline_tests.plan.samples import engine_with
from fimg_pipeline_tests.rig.command import switches
from fimg_pipeline_tests.source.repositories import AUTHOR, git

DAY = 86_400.0
#: Nobody listens there.
AWAY = "http://127.0.0.1:1/x.git"


@pytest.fixture
def watched(sample: SampleSource, tmp_path: Path) -> Any:
    environ = environ_of(sample, tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Handmade(tmp_path, environ, instance)


def selected(found: Look) -> set[str]:
    assert found.request is not None and found.request.asset_selection is not None
    return {"/".join(key.path) for key in found.request.asset_selection}


def brought(found: Look) -> str:
    assert found.request is not None
    return found.request.tags["fimg/brings"]


def test_at_first_everything_and_then_what_a_commit_affects(sample: SampleSource, watched: Handmade) -> None:
    first = watched.look()["t"]
    assert {"source", "nginx", "base-image", "spark-worker"} <= selected(first)
    assert brought(first).startswith("the first build, at ")
    watched.build()
    commit = git(sample.fate, "rev-parse", "HEAD")
    assert (watched.look()["t"].request, watched.look()["t"].told) == (None, f"up to date at {commit[:12]}")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    found = watched.look()["t"]
    assert selected(found) == {"source", "package/proxy", "nginx"}
    assert found.told == "2 to make: package/proxy, nginx"


def test_what_a_run_brings_is_told(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    start = git(sample.fate, "rev-parse", "HEAD")
    for number in range(1, 6):
        commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {number}\n", f"Note {number}")
        told = brought(watched.look()["t"])
        assert told.startswith(f"{git(sample.fate, 'rev-parse', 'HEAD')[:12]} Note {number} (")
        assert told.count(" Note ") == min(number, 3)
    assert told.endswith("; and 2 more")
    watched.build()
    git(sample.fate, "reset", "-q", "--hard", start)
    watched.made = []
    assert brought(watched.look()["t"]) == f"back to {start[:12]}"


def test_what_earlier_runs_were_to_bring_and_did_not_is_told_again(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    # Another, of which nothing failed: it is not told.
    commit_change(sample.fate, "README.md", "# hello\n", "Nothing to build")
    watched.build()
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# broken\n", "Broken")
    first = watched.look()["t"].request
    assert first is not None
    run_of(watched, first, Event("image", "nginx", "failed"), source=True)
    told = brought(watched.look()["t"])
    assert " Broken (" in told and "Nothing to build" not in told
    # What comes in between, and builds, is of another package.
    commit_change(sample.fate, "fateboard/pom.xml", "<project/>\n", "Another pom")
    between = watched.look()["t"].request
    assert between is not None
    run_of(watched, between._replace(asset_selection=[]), source=True)
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# mended\n", "Mended")
    told = brought(watched.look()["t"])
    assert " Mended (" in told and " Broken (" in told and "Nothing to build" not in told
    assert first.tags["fimg/brings"] in told
    watched.build()
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# more\n", "More")
    assert " Mended (" not in brought(watched.look()["t"])


def test_what_a_package_brought_whose_image_failed_is_told_again(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    fate = commit_change(sample.fate, "fateflow/python/note.py", "# hello\n", "A note in FATE Flow")
    first = watched.look()["t"].request
    assert first is not None and "; fateflow: " in first.tags["fimg/brings"]
    run_of(watched, first, Event("package", "fateflow", "built"), Event("image", "fateflow", "failed"), source=True)
    plan = watched.plan(watched.settings())
    watched.made.append(plan.package("fateflow"))
    watched.recorded(plan.package("fateflow"), plan)
    again = watched.look()["t"]
    assert "package/fateflow" not in selected(again) and fate[:12] in brought(again)
    assert brought(again) == first.tags["fimg/brings"]


def test_where_the_history_is_cut_that_is_told(sample: SampleSource, tmp_path: Path, watched: Handmade) -> None:
    watched.build()
    start = git(sample.fate, "rev-parse", "HEAD")
    for number in range(3):
        commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {number}\n", f"Note {number}")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", "shallow")
    watched.environ["FATE_DIR"] = str(tmp_path / "shallow")
    told = brought(watched.look()["t"])
    assert " Note 2 (" in told and " Note 1 (" not in told
    assert told.endswith(f"; and others since {start[:12]}: the history here is cut")


def test_the_run_is_of_the_source_that_was_looked_at(sample: SampleSource, watched: Handmade) -> None:
    request = watched.look()["t"].request
    assert request is not None
    key = request.run_config["resources"]["pipeline"]["config"]["source"]
    assert request.tags[REQUEST] == key
    before = git(sample.fate, "rev-parse", "HEAD")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    settings = watched.settings()
    assert resolve_once(settings, needed_packages(select(settings.features), "amd64"), key).fate.commit == before


def test_images_that_are_to_have_another_name_get_it(watched: Handmade) -> None:
    plan = watched.build()
    assert watched.look()["t"].request is None
    watched.environ["PREFIX"] = "registry.example/team"
    # No package has a name that people know.
    assert selected(watched.look()["t"]) == {"source", *(image.name for image in plan.buildable)}
    assert states(watched)["nginx"] == (State.STALE, f"it was named {plan.image('nginx').reference}")
    watched.build()
    assert watched.look()["t"].request is None
    assert states(watched)["nginx"] == (State.BUILT, "")


def states(watched: Handmade) -> dict[str, tuple[State, str]]:
    """How the images of ``t`` stand, and why."""
    (each,) = watched.survey()
    return {image.name: (image.state, image.why) for image in status(watched.instance, each).images}


def test_changes_that_are_not_committed_wait_for_a_person(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    (sample.fate / "c/proxy/conf/note.conf").write_text("# not yet\n")
    left = "FATE_DIR has changes that are not committed (c/proxy/conf/note.conf)"
    found = watched.look()["t"]
    assert (found.request, found.told) == (None, f"{left}: `fimg build` builds it as it stands")
    # Why nobody builds it is said where people look.
    assert states(watched)["nginx"] == (State.STALE, f"changed: package proxy; {left}")
    (sample.fate / "nohup.out").write_text("# of no image\n")
    assert watched.look()["t"].told.startswith(left[:-1] + ", nohup.out)")


def test_a_release_is_built_once(sample: SampleSource, watched: Handmade) -> None:
    record(watched.settings().home, "1.11.2-release", "v1.11.2")
    assert watched.look()["1.11.2-release"].request is not None
    commit = watched.build("1.11.2-release").source.fate.commit
    # As when recipes or bases change, or the engine was emptied: nothing of it is there as planned.
    watched.made = []
    found = watched.look()["1.11.2-release"]
    assert (found.request, found.told) == (None, f"built at {commit[:12]}")
    each = next(each for each in watched.survey() if each.tag == "1.11.2-release")
    assert {image.state for image in status(watched.instance, each).images} == {State.MISSING}
    watched.environ["Build_Basic"] = "1"
    assert "fateboard" in selected(watched.look()["1.11.2-release"])


def test_a_fixed_tag_that_stands_for_something_else_is_built_once_again(
    sample: SampleSource, watched: Handmade
) -> None:
    git(sample.fate, "tag", "v9.0.0")
    record(watched.settings().home, "mine", "v9.0.0")
    watched.build("mine")
    assert watched.look()["mine"].told.startswith("built at")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    git(sample.fate, "tag", "v9.0.1")
    record(watched.settings().home, "mine", "v9.0.1")
    # All of it is asked for, of which the most is reused.
    assert {"nginx", "base-image"} <= selected(watched.look()["mine"])
    watched.build("mine")
    assert watched.look()["mine"].told.startswith("built at")


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


def test_what_is_built_without_a_cache_is_not_built_for_ever(watched: Handmade) -> None:
    watched.environ["Docker_Options"] = "--no-cache"
    assert watched.look()["t"].request is not None
    watched.build("t")
    assert watched.look()["t"].told.startswith("up to date at")


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


def test_platforms_are_those_of_builds_unless_it_is_said(watched: Handmade) -> None:
    assert watched.settings(Platform="arm64").watched_platforms == ("arm64",)
    assert watched.settings(WATCHED_PLATFORMS="arm64, amd64,arm64").watched_platforms == ("arm64", "amd64")


def test_a_tag_that_can_not_be_looked_at_keeps_no_other_from_it(watched: Handmade) -> None:
    record(watched.settings().home, "nightly", "origin/develop")
    found = watched.look()
    assert found["nightly"].request is None
    assert found["nightly"].told.startswith("can't be looked at: TAG=nightly stands for origin/develop")
    assert found["t"].request is not None


def test_what_was_never_begun_was_not_tried(watched: Handmade) -> None:
    """Of what stands on something that fails nothing is known, and when that is mended it is asked for at once."""
    for _ in range(len(PAUSES) + 1):
        request = watched.look(NOW + 10 * DAY)["t"].request
        assert request is not None
        run_of(watched, request, Event("image", "base-image", "failed", 1.0, "no"))
    last = watched.look(NOW + 10 * DAY)["t"]
    assert "base-image tried 6 times" in last.told and not {"base-image", "fateflow"} & selected(last)
    plan = watched.plan(watched.settings())
    base = plan.image("base-image")
    for item in (*plan.packages, base):
        watched.made.append(item)
        watched.recorded(item, plan)
    assert "fateflow" in selected(watched.look(NOW + 10 * DAY)["t"])


def test_a_run_of_which_nothing_is_known_has_tried_all(watched: Handmade) -> None:
    request = watched.look()["t"].request
    assert request is not None
    run_of(watched, request)
    assert "nginx tried again in" in watched.look(time.time())["t"].told
    (each,) = watched.survey()
    found = {image.state: image.why for image in status(watched.instance, each).images}
    assert found.keys() == {State.FAILED} and found[State.FAILED].startswith(KILLED)


def test_what_was_killed_beside_something_that_failed_was_tried_too(watched: Handmade) -> None:
    request = watched.look()["t"].request
    assert request is not None
    events = (Event("image", "nginx", "failed", 1.0, "no"), Event("image", "base-image", "started"))
    for _ in range(len(PAUSES) + 1):
        run_of(watched, request, *events)
    told = watched.look(NOW + 10 * DAY)["t"].told
    assert "nginx tried 6 times" in told and "base-image tried 6 times" in told
    (each,) = watched.survey()
    found = {image.name: image for image in status(watched.instance, each).images}
    assert (found["base-image"].state, found["base-image"].why) == (
        State.FAILED,
        "its process was killed; tried 6 times: launch it by hand, or change what it is made of",
    )


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
        # A file system may be away: after hours it is not passing any more.
        assert "is not a folder" in found.problem and found.passing


def test_people_hear_of_what_does_not_pass_by_itself_after_hours(watched: Handmade) -> None:
    """Whoever writes the table, and whatever process it is."""
    away = PartitionStatus("amd64", "t", problem="the origin does not answer", passing=True)

    def written(found: PartitionStatus, hours: float) -> dict[str, str] | None:
        table = tabled(watched.instance, [found], NOW + hours * 3600)
        made = dg.AssetMaterialization(OVERVIEW, metadata=table.metadata)
        watched.instance.report_runless_asset_event(made)
        return problems(watched.instance)

    assert written(away, 0) == written(away, 1) == {}
    assert passing(watched.instance) == {"amd64|t": datetime.fromtimestamp(int(NOW), timezone.utc)}
    for hours in (4, 5):
        assert written(away, hours) == {"amd64|t": "the origin does not answer"}
    assert written(PartitionStatus("amd64", "t"), 6) == written(away, 7) == {}


def test_what_failed_is_known_however_much_ran_since(watched: Handmade) -> None:
    plan = watched.plan(watched.settings())
    for item in (*plan.packages, *plan.buildable):
        if item.name != "nginx":
            watched.made.append(item)
            watched.recorded(item, plan)
    request = watched.look()["t"].request
    assert request is not None and selected(watched.look()["t"]) == {"source", "nginx"}
    for _ in range(len(PAUSES) + 1):
        run_of(watched, request, Event("image", "nginx", "failed", 1.0, "no"))
    for _ in range(60):
        run_of(watched, dg.RunRequest(partition_key=request.partition_key), name="publish")
    found = watched.look(NOW + 10 * DAY)["t"]
    assert found.request is None and "nginx tried 6 times" in found.told
    (each,) = watched.survey()
    states = {image.name: image for image in status(watched.instance, each).images}
    assert states["nginx"].state is State.FAILED
    # Also people who only ask how things stand are told that it waits for them.
    assert states["nginx"].why == "no; tried 6 times: launch it by hand, or change what it is made of"


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


def test_what_a_run_brings_can_be_looked_at(sample: SampleSource, watched: Handmade) -> None:
    git(sample.fate, "remote", "add", "origin", "https://github.com/FederatedAI/FATE.git")
    watched.build()
    before = git(sample.fate, "rev-parse", "HEAD")
    now = commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note " * 100)
    request = watched.look()["t"].request
    assert request is not None and len(request.tags["fimg/brings"]) < 160
    assert request.tags["fimg/compare"] == f"https://github.com/FederatedAI/FATE/compare/{before}...{now}"


def test_commits_of_other_repositories_are_told_too(sample: SampleSource, watched: Handmade) -> None:
    branch = git(sample.fate_llm, "symbolic-ref", "--short", "HEAD")
    watched.environ |= {"Build_GPU": "1", "Build_LLM": "1", "Build_LLM_VERSION": branch}
    watched.environ["FATE_LLM_URL"] = str(sample.fate_llm)
    watched.build()
    llm = commit_change(sample.fate_llm, "python/note.py", "# hello\n", "A note in FATE-LLM")
    author = git(sample.fate_llm, "log", "-1", "--format=%an")
    told = f"changed: package fate_llm; changed: parent; fate_llm: {llm[:12]} A note in FATE-LLM ({author})"
    assert brought(watched.look()["t"]) == told
    fate = commit_change(sample.fate, "fateflow/python/note.py", "# hello\n", "A note in FATE Flow")
    flow = git(sample.fate, "rev-parse", "HEAD:fateflow")
    assert re.fullmatch(
        rf"{fate[:12]} .*; fateflow: {flow[:12]} A note in FATE Flow \(.*\); fate_llm: {llm[:12]} .*",
        brought(watched.look()["t"]),
    )


def test_a_submodule_that_was_not_updated_is_named(sample: SampleSource, watched: Handmade) -> None:
    git(sample.fate / "fateflow", "checkout", "-q", "--detach")
    (sample.fate / "fateflow/note").touch()
    git(sample.fate / "fateflow", "add", "note")
    git(sample.fate / "fateflow", *AUTHOR, "commit", "-qm", "Elsewhere")
    told = watched.look()["t"].told
    assert told.startswith("fateflow in FATE_DIR is at another commit than FATE pins (git submodule update)")


def test_each_repository_that_is_not_as_committed_is_named_with_what_is_not(
    sample: SampleSource, watched: Handmade
) -> None:
    for folder in (sample.fate, sample.fate / "fateflow"):
        (folder / "nohup.out").touch()
    assert watched.look()["t"].told == (
        "FATE_DIR has changes that are not committed (nohup.out); "
        "fateflow in FATE_DIR has changes that are not committed (nohup.out): `fimg build` builds it as it stands"
    )


def test_what_somebody_else_wrote_is_shown_as_a_line_that_ends(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    (sample.fate / "c/proxy/conf/note.conf").write_text("# hello\n")
    author = ("-c", f"user.name={'x' * 3000}", "-c", "user.email=x@example.org")
    git(sample.fate, "add", "--all")
    git(sample.fate, *author, "commit", "-q", "-m", "\x1b[31mred\x1b[0m \x07bell")
    request = watched.look()["t"].request
    assert request is not None
    assert re.fullmatch(r"[0-9a-f]{12} red bell \(x{38} …\)", request.tags["fimg/brings"])


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


def run_of(
    watched: Handmade, request: dg.RunRequest, *events: Event, name: str = "build", source: bool = False
) -> None:
    """A run that was asked for and fails, after its steps have said so; ``source``: which it had recorded."""

    @dg.op
    def work(context) -> None:  # type: ignore[no-untyped-def]  # Dagster wants its own type or none
        for event in events:
            report(watched.settings().home, context.run_id, event)
        if source:
            commit = watched.plan(watched.settings()).source.fate.commit
            context.log_event(
                dg.AssetMaterialization(SOURCE, partition=str(request.partition_key), tags={COMMIT: commit})
            )
        raise RuntimeError("it failed")

    @dg.job(name=name)
    def job() -> None:
        work()

    tags = {**request.tags, "dagster/partition": str(request.partition_key)}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(instance=watched.instance, tags=tags, raise_on_error=False, run_config=quiet)


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
