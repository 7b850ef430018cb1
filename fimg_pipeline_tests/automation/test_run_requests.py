"""Which runs are asked for, and why others are not."""

from __future__ import annotations

import time

import dagster as dg

from fimg_pipeline.automation.run_requests import REQUEST, wanted_by
from fimg_pipeline.automation.stale import NIGHTS, PAUSES
from fimg_pipeline.automation.status import State, status
from fimg_pipeline.plan.planner import needed_packages
from fimg_pipeline.plan.selection import select
from fimg_pipeline.progress import KILLED, Event
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import DAY, NOW, Handmade, brought, run_of, selected
from fimg_pipeline_tests.source.repositories import AUTHOR, git


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


def test_what_is_built_without_a_cache_is_not_built_for_ever(watched: Handmade) -> None:
    watched.environ["Docker_Options"] = "--no-cache"
    assert watched.look()["t"].request is not None
    watched.build("t")
    assert watched.look()["t"].told.startswith("up to date at")


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
        "its process was killed; tried 6 times: launch it by hand, or change what it is made of, or wait for `nightly`",
    )


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
    told = "no; tried 6 times: launch it by hand, or change what it is made of"
    assert states["nginx"].why == f"{told}, or wait for `nightly`"
    for _ in range(NIGHTS):
        run_of(watched, request, Event("image", "nginx", "failed", 1.0, "no"))
    (each,) = watched.survey()
    states = {image.name: image for image in status(watched.instance, each).images}
    assert states["nginx"].why == told.replace("6", str(len(PAUSES) + 1 + NIGHTS))


def test_what_is_the_same_of_another_commit_is_asked_for_anew(watched: Handmade, sample: SampleSource) -> None:
    """A run's source is kept by what was asked for: it would be that of the commit before."""
    before = watched.look()["t"].request
    commit = commit_change(sample.fate, "NOTES.txt", "nothing that is built\n", "A note")
    after = watched.look()["t"].request
    assert before is not None and after is not None
    assert wanted_by(watched.settings().home, before.tags[REQUEST]) == wanted_by(
        watched.settings().home, after.tags[REQUEST]
    )
    assert before.tags[REQUEST] != after.tags[REQUEST] and after.tags["fimg/commit"] == commit[:12]
