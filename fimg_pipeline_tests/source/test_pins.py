"""All steps of a run see the source it started with."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.errors import FimgError
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.pins import keep, resolve_once
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline_tests.source.repositories import settings


def test_what_a_run_pinned_can_be_read_by_later_steps(sample: SampleSource, tmp_path: Path) -> None:
    """Each step opens the repositories anew; IPCL_PKG_DIR's objects are in none of the others."""
    chosen = settings(sample, tmp_path, IPCL_PKG_DIR=str(sample.ipcl))
    resolve_once(chosen, ["ipcl_pkg"], "run")
    snapshot = resolve_once(chosen, ["ipcl_pkg", "conf"], "run")
    assert list(package_files(tmp_path / "home", snapshot.packages["ipcl_pkg"], snapshot.object_directories))


def test_a_run_keeps_the_source_it_started_with(sample: SampleSource, tmp_path: Path) -> None:
    first = resolve_once(settings(sample, tmp_path), ["conf"], "run-1")
    commit_change(sample.fate, "conf/later.yaml", "a: 1\n", "Later")
    assert resolve_once(settings(sample, tmp_path), ["conf"], "run-1") == first
    assert resolve_once(settings(sample, tmp_path), ["conf", "proxy"], "run-1").fate == first.fate
    assert resolve_once(settings(sample, tmp_path), ["conf"], "run-2").fate != first.fate


def test_later_steps_see_all_that_the_first_saw(sample: SampleSource, tmp_path: Path) -> None:
    chosen = settings(sample, tmp_path)
    first = resolve_once(chosen, PACKAGES, "run")
    later = resolve_once(chosen, PACKAGES, "run")
    assert first.requirements and first.object_directories
    for name in (field.name for field in fields(first)):
        assert getattr(later, name) == getattr(first, name), name
    for package in PACKAGES:
        assert resolve_once(chosen, [package], "run") == resolve(chosen, [package])
    assert resolve_once(chosen, [], "run") == resolve(chosen, [])


def test_a_source_that_is_damaged_is_said_and_asking_again_mends_it(sample: SampleSource, tmp_path: Path) -> None:
    chosen = settings(sample, tmp_path)
    found = resolve(chosen, PACKAGES)
    keep(chosen.home, chosen.tag, "key", found)
    file = chosen.home / "sources/key" / chosen.tag / "0.json"
    file.write_text("{}")
    with pytest.raises(FimgError, match=r"0\.json is damaged"):
        resolve_once(chosen, PACKAGES, "key")
    keep(chosen.home, chosen.tag, "key", found)
    commit_change(sample.fate, "conf/later.yaml", "a: 1\n", "Later")
    assert resolve_once(chosen, PACKAGES, "key") == found
