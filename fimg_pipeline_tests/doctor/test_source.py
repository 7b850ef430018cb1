"""FATE's source: what a build would read, and why it can't."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline.doctor import examination
from fimg_pipeline.doctor.examination import examine
from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.doctor.source import source
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.settings import Settings
from fimg_pipeline_tests.source.repositories import git, settings


def found(sample: SampleSource, tmp_path: Path, **given: str) -> list[Finding]:
    return list(source(settings(sample, tmp_path, **given)))


def test_a_checkout_is_told_with_what_the_tag_stands_for(sample: SampleSource, tmp_path: Path) -> None:
    (each,) = found(sample, tmp_path, TAG="1.11.2-release")
    commit = git(sample.fate, "rev-parse", "v1.11.2^{commit}")
    assert each.verdict is Verdict.OK and f"v1.11.2 at {commit[:12]} in {sample.fate}" in each.told


def test_what_is_in_the_way_is_wrong_and_says_how_to_mend_it(sample: SampleSource, tmp_path: Path) -> None:
    (nowhere,) = found(sample, tmp_path, FATE_DIR=str(tmp_path / "nowhere"))
    assert nowhere.verdict is Verdict.WRONG and "is not a folder" in nowhere.told and nowhere.hint
    (untagged,) = found(sample, tmp_path, TAG="9.9.9-release")
    assert untagged.verdict is Verdict.WRONG and "v9.9.9" in untagged.told and "fetch --tags" in untagged.hint
    shutil.rmtree(sample.fate / ".git/modules/eggroll")
    (broken,) = found(sample, tmp_path)
    assert broken.verdict is Verdict.WRONG and "submodule" in broken.told and "submodule update" in broken.hint


def test_changes_and_a_cut_history_are_told(sample: SampleSource, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", "shallow")
    (tmp_path / "shallow/c/proxy/conf/note.conf").write_text("# not yet\n")
    first, changes, cut = found(sample, tmp_path, FATE_DIR=str(tmp_path / "shallow"))
    assert (first.verdict, changes.verdict, cut.verdict) == (Verdict.OK, Verdict.NOTE, Verdict.WARNING)
    assert "not committed" in changes.told and cut.hint.endswith("fetch --unshallow")


def test_a_full_disk_is_a_finding_and_the_rest_is_looked_at(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Settings) -> Iterator[Finding]:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/scratch/index")
        yield

    def fine(_: Settings) -> Iterator[Finding]:
        yield Finding("engine", Verdict.OK, "there")

    monkeypatch.setattr(examination, "PARTS", (full, fine))
    disk, engine = examine(settings(sample, tmp_path))
    assert disk.verdict is Verdict.WRONG and disk.told == "/home/scratch/index: No space left on device" and disk.hint
    assert engine.verdict is Verdict.OK
