"""What operators do and look at: how it stands, building anew, removing what is superseded; on a real engine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from fimg_pipeline import freshness
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import remove_names
from fimg_pipeline_tests.source.repositories import AUTHOR, git

pytestmark = pytest.mark.engine

PREFIX = f"fimg-test.invalid:5000/operating{os.getpid()}"
IMAGE = "fate-upgrade-manager"
SQL = "deploy/upgrade/sql/note.sql"


@pytest.fixture
def fimg(tmp_path: Any, engine: Engine) -> Iterator[Fimg]:
    """The command with the base image and one other selected, which are built."""
    command = Fimg(tmp_path, create_sample(tmp_path / "src"), {"PREFIX": PREFIX, "TAG": "op", **switches(Feature.FUM)})
    command.succeeds("build")
    command.builds()
    yield command
    remove_names(engine, PREFIX)


def change(fimg: Fimg) -> None:
    """Something in the image's source that never was."""
    commit_change(fimg.sample.fate, SQL, f"-- {time.time_ns()}\n", "A note")


def states(fimg: Fimg) -> dict[str, tuple[str, str]]:
    (partition,) = json.loads(fimg.succeeds("status", "--json"))
    return {image["name"]: (image["state"], image["why"] or "") for image in partition["images"]}


def test_a_tag_that_is_refreshed_is_built_without_a_cache_once(fimg: Fimg) -> None:
    freshness.refresh(fimg.home, {"op": freshness.moment(datetime.now(timezone.utc))})
    for base in BASES.values():
        for platform in PLATFORMS:
            # Other tests stand on the bases that are there: they stay.
            freshness.renewed(fimg.home, base.local_reference(platform), None)
    assert states(fimg)[IMAGE] == ("stale", "changed: refreshed")
    fimg.succeeds("build", "--image", IMAGE)
    (build,) = fimg.builds()
    assert f"image.title={IMAGE} " in build and "--no-cache" in build
    assert states(fimg)[IMAGE] == ("built", "")
    fimg.succeeds("build", "--image", IMAGE)
    assert fimg.builds() == []
    # What follows uses what the first one left.
    change(fimg)
    fimg.succeeds("build", "--image", IMAGE)
    builds = fimg.builds()
    assert len(builds) == 2 and not any("--no-cache" in build for build in builds)


def test_what_failed_says_why_until_it_is_mended(fimg: Fimg) -> None:
    assert states(fimg)[IMAGE] == ("built", "")
    fate = fimg.sample.fate
    git(fate, "mv", "deploy/upgrade/sql", "deploy/upgrade/gone")
    git(fate, *AUTHOR, "commit", "-q", "-m", "Broken")
    assert states(fimg)[IMAGE] == ("stale", "changed: package deploy")
    result = fimg("build")
    assert result.status == 1
    state, why = states(fimg)[IMAGE]
    assert state == "failed" and "/deploy/upgrade/sql" in why
    told = fimg.succeeds("status")
    assert "op for amd64 at " in told and ": 1 built, 1 failed" in told and "(run " in told
    git(fate, *AUTHOR, "revert", "--no-edit", "HEAD")
    fimg.succeeds("build")
    assert states(fimg)[IMAGE] == ("built", "")


def test_what_is_superseded_goes_when_that_is_meant_and_nothing_else(fimg: Fimg, engine: Engine) -> None:
    others = {name for image in engine.state().images for name in image.references}
    kept = engine.inspect(f"{PREFIX}/{IMAGE}:op")
    for _ in range(2):
        change(fimg)
        fimg.succeeds("build")
    last = engine.inspect(f"{PREFIX}/{IMAGE}:op")
    assert kept is not None and last is not None and kept["Id"] != last["Id"]
    listed = fimg.succeeds("prune", PRUNE_KEEP="1")
    assert "superseded" in listed and "fimg prune --yes" in listed
    assert engine.inspect(kept["Id"]) is not None
    removed = fimg.succeeds("prune", "--yes", PRUNE_KEEP="1")
    assert removed.splitlines()[-1].startswith("removed: ")
    assert engine.inspect(f"{PREFIX}/{IMAGE}:op") == last
    left = {name for image in engine.state().images for name in image.references}
    gone = others - left
    assert all(name.startswith("localhost/fimg/") and (IMAGE in name or "/package/" in name) for name in gone), gone
    assert "nothing to remove" in fimg.succeeds("prune", PRUNE_KEEP="1")
    fimg.builds()
    fimg.succeeds("build")
    assert fimg.builds() == []
