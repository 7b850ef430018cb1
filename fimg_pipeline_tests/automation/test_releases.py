"""New releases of FATE become tags; those that were there before, or are not wanted, don't."""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation import watching
from fimg_pipeline.automation.releases import new_releases
from fimg_pipeline.errors import FimgError
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.source import releases
from fimg_pipeline.source.tags import record, recorded
from fimg_pipeline_tests.source.repositories import AUTHOR, git


@pytest.fixture
def home(sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a pipeline whose FATE_DIR is a clone of the sample."""
    git(sample.fate, "checkout", "-q", "-B", "develop")
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FATE_DIR", str(tmp_path / "clone"))
    monkeypatch.setenv("FIMG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def tick(instance: dg.DagsterInstance) -> tuple[str, list[str]]:
    """What the sensor says, and the partitions it adds."""
    found = new_releases(dg.build_sensor_context(instance=instance), pipeline=Pipeline())
    if isinstance(found, dg.SkipReason):
        return str(found.skip_message), []
    assert isinstance(found, dg.SensorResult)
    added = [key for request in found.dynamic_partitions_requests or () for key in request.partition_keys]
    assert all(tag in str(found.skip_reason) for tag in added), "nobody sees what was added"
    return "", added


def test_what_comes_is_added_wherever_it_is(sample: SampleSource, tmp_path: Path, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told, added = tick(instance)
        assert added == [] and "are there already" in told
        assert tick(instance) == ("no new release", [])
        # In the origin, annotated; here; of another kind; of a version that is not wanted.
        git(sample.fate, *AUTHOR, "tag", "-a", "-m", "x", "v1.11.8")
        git(tmp_path / "clone", *AUTHOR, "tag", "-a", "-m", "x", "inner")
        git(tmp_path / "clone", *AUTHOR, "tag", "-a", "-m", "x", "v1.11.9", "inner")
        git(sample.fate, "tag", "v1.11.10-rc1")
        git(sample.fate, "tag", "v2.0.0")
        # Nor what only looks like a version.
        git(sample.fate, "tag", "v1.11.\u0663")
        git(sample.fate, "tag", f"v1.11.{'9' * 130}")
        git(sample.fate, "tag", "v01.11.12")
        git(tmp_path / "clone", "tag", "v1.11.13", "HEAD^{tree}")
        (tmp_path / "clone/.git/refs/tags/v0.0.1").write_text(f"{'1' * 40}\n")
        assert sorted(tick(instance)[1]) == ["1.11.8-release", "1.11.9-release"]
        assert recorded(home) == {"1.11.8-release": "v1.11.8", "1.11.9-release": "v1.11.9"}
        assert tick(instance)[1] == []


def test_what_is_here_is_added_though_the_origin_is_away(sample: SampleSource, tmp_path: Path, home: Path) -> None:
    clone = tmp_path / "clone"
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        sample.fate.rename(tmp_path / "gone")
        git(clone, "tag", "v1.11.9")
        assert tick(instance)[1] == ["1.11.9-release"]
        told, added = tick(instance)
        assert added == [] and "of FATE_DIR alone: " in told and "can't be asked for its refs" in told
        # Nobody knows what is new before both were seen.
        (home / "releases.json").unlink()
        assert "can't be looked at" in tick(instance)[0] and not (home / "releases.json").exists()


def test_each_fate_has_releases_of_its_own(
    sample: SampleSource, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        git(tmp_path, "clone", "-q", "--bare", str(sample.fate), "other.git")
        git(tmp_path / "other.git", "tag", "v1.11.7")
        git(tmp_path, "clone", "-q", str(tmp_path / "other.git"), "another")
        monkeypatch.setenv("FATE_DIR", str(tmp_path / "another"))
        told, added = tick(instance)
        assert added == [] and "are there already" in told
        git(sample.fate, "tag", "v1.11.8")
        monkeypatch.setenv("FATE_DIR", str(tmp_path / "clone"))
        assert tick(instance)[1] == ["1.11.8-release"]


def test_what_an_earlier_version_kept_is_known(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "releases.json").write_text('["1.11.1"]')
    assert releases.known(home, "x") == {"1.11.1"}
    releases.keep(home, "x", ["1.11.2"])
    assert releases.known(home, "x") == {"1.11.1", "1.11.2"} and releases.known(home, "y") is None


def test_what_is_not_wanted_is_added_once_it_is(
    sample: SampleSource, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEASES", ">=1.11.4,<2")
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        git(sample.fate, "tag", "v1.11.3")
        told, added = tick(instance)
        assert added == [] and recorded(home) == {}
        assert "RELEASES (<2,>=1.11.4) leaves out 1.11.3" in told
        monkeypatch.setenv("RELEASES", "==1.11.*")
        assert tick(instance)[1] == ["1.11.3-release"]


def test_what_a_person_said_a_tag_stands_for_it_does(sample: SampleSource, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        record(home, "1.11.8-release", "origin/hotfix")
        git(sample.fate, "tag", "v1.11.8")
        tick(instance)
        assert recorded(home) == {"1.11.8-release": "origin/hotfix"}


def test_a_damaged_file_is_named(home: Path) -> None:
    home.mkdir()
    (home / "releases.json").write_text("{")
    with pytest.raises(FimgError, match=r"releases\.json is damaged"):
        releases.known(home, "x")


def test_a_release_whose_tag_is_a_partition_already(sample: SampleSource, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        add_tag(instance, "1.11.8-release")
        git(sample.fate, "tag", "v1.11.8")
        assert tick(instance)[1] == []
        assert recorded(home) == {"1.11.8-release": "v1.11.8"}


def test_a_fate_dir_that_hangs_fails_no_tick(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()

    def hangs(*_: object) -> None:
        ends.wait(60)

    monkeypatch.setattr(watching, "_READING", 0.2)
    monkeypatch.setattr(watching, "_BUSY", 0.2)
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "releases", hangs)
        for _ in range(2):
            assert "can't be read: nothing came within" in tick(instance)[0]
        ends.set()
    with dg.DagsterInstance.ephemeral() as instance:
        assert "are there already" in tick(instance)[0]


def test_an_origin_that_does_not_answer_is_said_and_nothing_forgotten(tmp_path: Path, home: Path) -> None:
    git(tmp_path / "clone", "remote", "set-url", "origin", "http://127.0.0.1:1/FATE.git")
    with dg.DagsterInstance.ephemeral() as instance:
        assert "can't be asked for its refs" in tick(instance)[0]
    assert not (home / "releases.json").exists()


@pytest.mark.parametrize("text", ["1.11", "==", "latest"])
def test_which_releases_are_meant_is_checked(text: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RELEASES", text)
    with pytest.raises(Exception, match="must be versions such as"):
        Pipeline().settings()
