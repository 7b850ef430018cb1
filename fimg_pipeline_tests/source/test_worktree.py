"""A checkout as it stands: uncommitted changes count, nothing is written to it, nothing of its own runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.git import Git
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline_tests.source.repositories import AUTHOR, contents, everything_below, git, settings


def test_fate_dir_is_not_written_to(sample: SampleSource, tmp_path: Path) -> None:
    (sample.fate / "conf/new.yaml").write_text("a: 1\n")
    before = everything_below(sample.fate)
    snapshot = resolve(settings(sample, tmp_path), PACKAGES)
    assert snapshot.fate.dirty
    assert everything_below(sample.fate) == before


def test_uncommitted_changes_are_built_as_they_are_and_marked(sample: SampleSource, tmp_path: Path) -> None:
    clean = resolve(settings(sample, tmp_path), PACKAGES)
    (sample.fate / "c/proxy/conf/extra.conf").write_text("# new\n")
    (sample.fate / "examples" / "ignored.pyc").write_text("x")
    dirty = resolve(settings(sample, tmp_path), PACKAGES)
    changed = {name for name in PACKAGES if contents(clean)[name] != contents(dirty)[name]}
    assert dirty.fate.dirty and changed >= {"proxy"} and changed <= {"proxy", "examples"}
    files = package_files(tmp_path / "home", dirty.packages["proxy"], dirty.object_directories)
    assert "proxy/nginx/conf/extra.conf" in {file.path for file in files}


def test_uncommitted_changes_in_a_submodule_count(sample: SampleSource, tmp_path: Path) -> None:
    clean = resolve(settings(sample, tmp_path), ["fateflow"])
    (sample.fate / "fateflow/python/fate_flow/new.py").write_text("x = 1\n")
    dirty = resolve(settings(sample, tmp_path), ["fateflow"])
    assert dirty.repositories["fateflow"].dirty
    assert contents(clean) != contents(dirty)


def test_a_repository_within_the_checkout_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "init", "--quiet", "python/nested")
    (sample.fate / "python/nested/file").touch()
    git(sample.fate / "python/nested", "add", "file")
    git(sample.fate / "python/nested", *AUTHOR, "commit", "--quiet", "--message", "One")
    with pytest.raises(SourceError, match=r"git repositories that are no submodules: python/nested"):
        resolve(settings(sample, tmp_path), ["fate"])


def test_a_repositorys_hooks_and_monitors_do_not_run(sample: SampleSource, tmp_path: Path) -> None:
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    script.chmod(0o755)
    git(sample.fate, "config", "core.fsmonitor", str(script))
    git(sample.fate, "config", "core.hooksPath", str(tmp_path))
    shutil.copy(script, tmp_path / "reference-transaction")
    resolve(settings(sample, tmp_path), PACKAGES)
    # Commands that would, run as the pipeline runs git.
    Git(work_tree=sample.fate).output("status")
    Git(work_tree=sample.fate).output("update-ref", "refs/heads/other", "HEAD")
    assert not (tmp_path / "pwned").exists()


def test_a_repositorys_filters_do_not_run(sample: SampleSource, tmp_path: Path) -> None:
    """Its .gitattributes may name a filter and its configuration the filter's program: root would run it."""
    git(sample.fate, "config", "filter.evil.clean", f"sh -c 'touch {tmp_path}/pwned; cat'")
    (sample.fate / ".gitattributes").write_text("*.md filter=evil\n")
    (sample.fate / "RELEASE.md").write_text("changed\n")
    assert resolve(settings(sample, tmp_path), ["conf"]).fate.dirty
    assert not (tmp_path / "pwned").exists()


def test_a_split_index_is_not_written_to(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "config", "core.splitIndex", "true")
    git(sample.fate, "update-index", "--split-index")
    (sample.fate / "conf/new.yaml").write_text("a: 1\n")
    before = everything_below(sample.fate)
    snapshot = resolve(settings(sample, tmp_path), ["conf"])
    assert snapshot.fate.dirty
    assert everything_below(sample.fate) == before


def test_a_submodule_checked_out_elsewhere_is_taken_as_it_stands(sample: SampleSource, tmp_path: Path) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    (sample.fate / "fateflow/other").write_text("x")
    git(sample.fate / "fateflow", "add", "other")
    git(sample.fate / "fateflow", *identity, "commit", "-qm", "not pinned")
    snapshot = resolve(settings(sample, tmp_path), ["fateflow"])
    assert snapshot.repositories["fateflow"].commit == git(sample.fate / "fateflow", "rev-parse", "HEAD")
    assert snapshot.dirty and snapshot.origin.dirty and not snapshot.fate.dirty


def test_file_names_that_are_no_text(sample: SampleSource, tmp_path: Path) -> None:
    name = os.fsdecode(b"requirements-\xff.txt")
    (sample.fate / "python" / name).write_text("click\n")
    snapshot = resolve(settings(sample, tmp_path), ["requirements"])
    files = package_files(tmp_path / "home", snapshot.packages["requirements"], snapshot.object_directories)
    assert name in {file.path for file in files}


def test_a_repository_without_commits_inside_fate_dir_is_named(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "init", "-q", "scratch")
    with pytest.raises(SourceError, match=r"scratch/.*commit") as caught:
        resolve(settings(sample, tmp_path), ["conf"])
    assert caught.value.hint is not None and " status " in caught.value.hint


def test_a_change_of_the_same_size_in_the_second_of_the_commit_is_seen(sample: SampleSource, tmp_path: Path) -> None:
    for number in range(3):  # the index and the file have to be of one second
        commit_change(sample.fate, "c/proxy/conf/racy.conf", f"# one {number}\n", "Racy")
        with (sample.fate / "c/proxy/conf/racy.conf").open("r+") as file:
            file.write(f"# two {number}\n")
        assert resolve(settings(sample, tmp_path), ["proxy"]).fate.dirty
