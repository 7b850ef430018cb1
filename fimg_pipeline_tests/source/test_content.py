"""The files of a package: git's, byte for byte, or an error that names what is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline_tests.rig.repository import lose_object
from fimg_pipeline_tests.source.repositories import git, settings


def some_file(repository: Path, folder: str) -> str:
    return git(repository, "ls-tree", "-r", "--name-only", "HEAD", "--", folder).splitlines()[0]


def test_missing_content_of_examples_is_left_out_and_named(sample: SampleSource, tmp_path: Path) -> None:
    path = some_file(sample.fate, "examples")
    lose_object(sample.fate, f"HEAD:{path}")
    snapshot = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["examples"])
    assert snapshot.packages["examples"].missing == (path,)
    names = {
        f.path for f in package_files(tmp_path / "home", snapshot.packages["examples"], snapshot.object_directories)
    }
    assert names and path not in names


def test_missing_content_elsewhere_is_an_error_that_names_it(sample: SampleSource, tmp_path: Path) -> None:
    path = some_file(sample.fate, "conf")
    lose_object(sample.fate, f"HEAD:{path}")
    with pytest.raises(SourceError, match=f"package conf: the content of 1 files is missing.*: {path}"):
        resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["conf"])


def test_a_folder_that_can_not_be_read_is_an_error_that_names_the_repository(
    sample: SampleSource, tmp_path: Path
) -> None:
    lose_object(sample.fate, "HEAD:conf")
    with pytest.raises(SourceError, match=r"fate at v1\.11\.2 \([0-9a-f]{12}\) can't be read: ") as caught:
        resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["conf"])
    assert caught.value.hint is not None and "partial or damaged" in caught.value.hint


def test_package_files_are_gits_byte_for_byte(sample: SampleSource, tmp_path: Path) -> None:
    snapshot = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["fate", "conf", "requirements"])
    home, folders = tmp_path / "home", snapshot.object_directories
    files = {file.path: file for file in package_files(home, snapshot.packages["fate"], folders)}
    listed = git(sample.fate, "ls-tree", "-r", "--name-only", "v1.11.2", "--", "python").splitlines()
    assert set(files) == {f"fate/{path}" for path in listed}
    for path in listed:
        assert files[f"fate/{path}"].data == (sample.fate / path).read_bytes()
    assert "fate.env" in {file.path for file in package_files(home, snapshot.packages["conf"], folders)}
    requirements = {file.path for file in package_files(home, snapshot.packages["requirements"], folders)}
    assert requirements and all(path.startswith("requirements") and "/" not in path for path in requirements)


def test_a_file_that_would_leave_its_folder_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    """git itself writes no such tree, but reads it; and a clone brings it along."""
    blob = git(sample.fate, "hash-object", "-w", "fate.env")

    def tree(*rows: tuple[str, str, str]) -> str:
        rows = tuple(sorted(rows, key=lambda row: row[1]))
        data = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(ident) for mode, name, ident in rows)
        command = ["git", "-C", str(sample.fate), "hash-object", "-w", "-t", "tree", "--literally", "--stdin"]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()

    evil = tree(("40000", "..", tree(("40000", "..", tree(("100644", "Dockerfile", blob))))))
    root = tree(("40000", "c", tree(("40000", "proxy", tree(("40000", "conf", evil), ("40000", "lua", evil))))),
                ("100644", "fate.env", blob))  # fmt: skip
    commit = git(sample.fate, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit-tree", root, "-m", "evil")
    git(sample.fate, "tag", "v9.9.9", commit)
    with pytest.raises(SourceError, match=r"'c/proxy/conf/\.\.', which would leave its folder") as caught:
        resolve(settings(sample, tmp_path, TAG="9.9.9-release"), ["proxy"])
    assert caught.value.hint is not None and "tampered" in caught.value.hint


def test_a_clone_without_blobs_is_told_as_such(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{sample.fate}", str(partial))
    with pytest.raises(SourceError, match=r"FATE_DIR=.*partial: fate\.env at v1\.11\.2 .* can't be read") as caught:
        resolve(settings(sample, tmp_path, FATE_DIR=str(partial), TAG="1.11.2-release"), ["conf"])
    assert caught.value.hint is not None and "--filter" in caught.value.hint


def test_a_link_in_the_place_of_a_folder_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    shutil.rmtree(sample.fate / "c/proxy/lua")
    (sample.fate / "c/proxy/lua").symlink_to("conf")
    with pytest.raises(SourceError, match=r"package proxy: fate at .*: c/proxy/lua is a symbolic link"):
        resolve(settings(sample, tmp_path), ["proxy"])
