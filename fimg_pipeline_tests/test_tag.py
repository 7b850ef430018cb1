"""``fimg tag``: tags as people add, list and remove them, and what the instance has of them."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.partitions import known_tags
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline_tests.rig.command import Fimg
from fimg_pipeline_tests.source.repositories import git

# Its commands open an instance of their own, which takes seconds.
pytestmark = pytest.mark.engine


@pytest.fixture
def fimg(sample: SampleSource, tmp_path: Path) -> Fimg:
    """``fimg`` whose FATE_DIR is a clone of the sample, at the branch develop of it."""
    git(sample.fate, "checkout", "-q", "-B", "develop")
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    return Fimg(tmp_path, sample, {"FATE_DIR": str(tmp_path / "clone")})


def partitions(fimg: Fimg) -> list[str]:
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        return known_tags(instance)


def test_tags_come_and_go(fimg: Fimg) -> None:
    added = fimg.succeeds("tag", "add", "nightly", "--ref", "origin/develop")
    assert "origin/develop (followed)" in added
    fimg.succeeds("tag", "add", "1.11.2-release")
    fimg.succeeds("tag", "add", "1.11.2-release")
    assert partitions(fimg) == ["nightly", "1.11.2-release"]
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    found = {entry["tag"]: entry for entry in json.loads(fimg.succeeds("tag", "list", "--json"))}
    assert list(found) == ["latest", "nightly", "1.11.2-release"]
    nightly = found["nightly"]
    assert (nightly["commit"], nightly["subject"]) == (
        git(fimg.sample.fate, "rev-parse", "HEAD"),
        "A note in the proxy",
    )
    assert {tag: (entry["ref"], entry["followed"]) for tag, entry in found.items()} == {
        "latest": (None, True),
        "nightly": ("origin/develop", True),
        "1.11.2-release": ("v1.11.2", False),
    }
    fimg.succeeds("tag", "remove", "nightly")
    assert partitions(fimg) == ["1.11.2-release"]
    assert "nightly" not in fimg.succeeds("tag", "list")


def test_what_stays_is_kept_by_its_whole_name(fimg: Fimg) -> None:
    commit = git(fimg.sample.fate, "rev-parse", "HEAD")
    for ref in (commit[:10], commit.upper(), commit):
        assert f"{commit} (fixed)" in fimg.succeeds("tag", "add", "mine", "--ref", ref)
    for ref in ("refs/tags/v1.11.2", "tags/v1.11.2", "v1.11.2"):
        assert "v1.11.2 (fixed)" in fimg.succeeds("tag", "add", "mine", "--ref", ref)
    changed = fimg.succeeds("tag", "add", "mine", "--ref", "develop")
    assert "develop (followed)" in changed and "mine stood for v1.11.2 until now" in changed


def test_a_tag_that_is_being_built_stays(fimg: Fimg) -> None:
    fimg.succeeds("tag", "add", "mine")
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        job = dg.JobDefinition(name="build", graph_def=dg.GraphDefinition(name="build"))
        run = instance.create_run_for_job(job, tags={"dagster/partition": "amd64|mine"})
    result = fimg("tag", "remove", "mine")
    assert result.status == 1 and f"a run for mine is waiting or under way ({run.run_id[:8]})" in result.output
    assert "mine" in partitions(fimg)
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        instance.report_run_canceled(run)
    fimg.succeeds("tag", "remove", "mine")


def test_what_is_built_under_a_tag_is_what_it_stands_for(fimg: Fimg) -> None:
    fimg.succeeds("tag", "add", "nightly", "--ref", "origin/develop")
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    source = json.loads(fimg.succeeds("plan", "--json", "--tag", "nightly"))["source"]
    assert (source["ref"], source["commit"]) == ("origin/develop", git(fimg.sample.fate, "rev-parse", "HEAD"))


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["add", "nightly", "--ref", "none"], 1, "which FATE_DIR="),
        (["add", "1.11.9-release"], 1, "stands for the git ref v1.11.9"),
        (["add", "a|b"], 2, "'a|b' must be a Docker tag"),
        (["add", "a", "--ref", "--upload-pack=x"], 2, "must be a git tag, branch or commit"),
        (["add", "a", "--ref", ""], 2, "must be a git tag, branch or commit"),
        (["remove", "none"], 1, "there is no tag none"),
        (["remove", "latest"], 1, "latest is the configured tag"),
    ],
)
def test_what_can_not_be_is_said_and_changes_nothing(fimg: Fimg, arguments: list[str], status: int, told: str) -> None:
    result = fimg("tag", *arguments)
    assert result.status == status and told in result.output, result.output
    assert [entry["tag"] for entry in json.loads(fimg.succeeds("tag", "list", "--json"))] == ["latest"]


def test_a_partition_that_is_no_tag_is_said_and_can_be_removed(fimg: Fimg) -> None:
    """The web UI takes any that somebody adds."""
    fimg.succeeds("setup")
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        instance.add_dynamic_partitions("tag", ["bad tag!"])
    (bad,) = [each for each in json.loads(fimg.succeeds("tag", "list", "--json")) if each["tag"] != "latest"]
    assert bad["tag"] == "bad tag!" and "must be a Docker tag" in bad["problem"]
    fimg.succeeds("tag", "remove", "bad tag!")
    assert "bad tag!" not in partitions(fimg)


def test_a_tag_whose_ref_is_gone_is_listed_as_that(fimg: Fimg) -> None:
    fimg.succeeds("tag", "add", "nightly", "--ref", "origin/develop")
    git(fimg.sample.fate, "branch", "-m", "develop", "other")
    (_, nightly) = json.loads(fimg.succeeds("tag", "list", "--json"))
    assert nightly["commit"] is None and "origin/develop" in nightly["problem"]
    assert "which the origin of" in fimg.succeeds("tag", "list")
