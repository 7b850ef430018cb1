"""New releases of FATE become tags; those that were there before, or are not wanted, don't."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.releases import new_releases
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.source.tags import recorded
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


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[dg.SensorResult, list[str]]:
    """What the sensor says, and the partitions it adds."""
    found = new_releases(dg.build_sensor_context(instance=instance, cursor=cursor), pipeline=Pipeline())
    assert isinstance(found, dg.SensorResult), found
    added = [key for request in found.dynamic_partitions_requests or () for key in request.partition_keys]
    return found, list(added)


def test_what_comes_is_added_wherever_it_is(sample: SampleSource, tmp_path: Path, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, added = tick(instance, None)
        assert added == [] and first.skip_reason is not None and "are there already" in str(first.skip_reason)
        same, added = tick(instance, first.cursor)
        assert added == [] and "no new release" in str(same.skip_reason)
        # In the origin, annotated; here; of another kind; of a version that is not wanted.
        git(sample.fate, *AUTHOR, "tag", "-a", "-m", "x", "v1.11.8")
        git(tmp_path / "clone", "tag", "v1.11.9")
        git(sample.fate, "tag", "v1.11.10-rc1")
        git(sample.fate, "tag", "v2.0.0")
        second, added = tick(instance, same.cursor)
        assert sorted(added) == ["1.11.8-release", "1.11.9-release"]
        assert recorded(home) == {"1.11.8-release": "v1.11.8", "1.11.9-release": "v1.11.9"}
        assert tick(instance, second.cursor)[1] == []


def test_what_is_not_wanted_is_said_once(sample: SampleSource, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASES", ">=1.11.4,<2")
    with dg.DagsterInstance.ephemeral() as instance:
        first, _ = tick(instance, None)
        git(sample.fate, "tag", "v1.11.3")
        second, added = tick(instance, first.cursor)
        assert added == [] and recorded(home) == {}
        assert "RELEASES=<2,>=1.11.4 leaves out 1.11.3" in str(second.skip_reason)
        assert "leaves out" not in str(tick(instance, second.cursor)[0].skip_reason)


def test_a_release_whose_tag_is_a_partition_already(sample: SampleSource, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, _ = tick(instance, None)
        add_tag(instance, "1.11.8-release")
        git(sample.fate, "tag", "v1.11.8")
        assert tick(instance, first.cursor)[1] == []
        assert recorded(home) == {"1.11.8-release": "v1.11.8"}


def test_an_origin_that_does_not_answer_is_said_and_nothing_forgotten(tmp_path: Path, home: Path) -> None:
    git(tmp_path / "clone", "remote", "set-url", "origin", "http://127.0.0.1:1/FATE.git")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor='["1.11.2"]')
        found = new_releases(context, pipeline=Pipeline())
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message is not None and "can't be asked for its refs" in found.skip_message


@pytest.mark.parametrize("text", ["1.11", "==", "latest"])
def test_which_releases_are_meant_is_checked(text: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RELEASES", text)
    with pytest.raises(Exception, match="must be versions such as"):
        Pipeline().settings()
