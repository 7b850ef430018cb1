"""What is built by itself: the sensor in the daemon of the web UI, on real repositories and a real engine."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import SOURCE
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import remove_names
from fimg_pipeline_tests.rig.web import ended, switch_on, ticks, until, web_ui
from fimg_pipeline_tests.source.repositories import git

pytestmark = pytest.mark.engine

PREFIX = f"fimg-test.invalid:5000/automation{os.getpid()}"


def test_a_commit_is_built_by_itself_and_nothing_else(tmp_path: Path, engine: Engine) -> None:
    sample = create_sample(tmp_path / "src")
    fimg = Fimg(tmp_path, sample, {"PREFIX": PREFIX, "TAG": "auto", **switches(Feature.SPARK)})
    try:
        fimg.succeeds("build")
        fimg.builds()
        with web_ui(fimg) as (address, _):
            switch_on(address, "commits")
            first = until(lambda: ticks(address, "commits"), 120)[-1]
            until(lambda: ticks(address, "commits")[-1]["status"] != "STARTED", 60)
            first = ticks(address, "commits")[-1]
            assert first["status"] == "SKIPPED" and "auto for amd64: up to date at" in first["skipReason"], first
            # Of this moment: on the engine there may be what an earlier test made of a change.
            commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {time.time()}\n", "A note in the proxy")
            (run,) = until(lambda: [run for tick in ticks(address, "commits") for run in tick["runIds"]], 150)
            assert ended(address, run, 240) == "SUCCESS", fimg.said.read_text()
        built = [re.findall(r"image\.title=(\S+)", build) for build in fimg.builds()]
        assert built == [["proxy"], ["nginx"]]
        with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
            found = instance.get_run_by_id(run)
            assert found is not None and found.asset_selection is not None
            made = {"/".join(key.path) for key in found.asset_selection}
            assert made == {"source", "package/proxy", "nginx"}
            commit = git(sample.fate, "rev-parse", "HEAD")
            assert found.tags["fimg/brings"].startswith(f"{commit[:12]} A note in the proxy (")
            source = instance.fetch_materializations(SOURCE, limit=1).records[0].asset_materialization
            assert source is not None
            (row,) = source.metadata["commits since then"].value.records  # type: ignore[union-attr]
            assert (row.data["commit"], row.data["subject"]) == (commit[:12], "A note in the proxy")
        assert engine.inspect(f"{PREFIX}/nginx:auto") is not None
    finally:
        remove_names(engine, PREFIX)
