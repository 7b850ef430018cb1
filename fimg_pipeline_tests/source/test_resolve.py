"""Resolving source from real git repositories: refs, submodules, and every way a checkout can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import fate_identity, resolve
from fimg_pipeline_tests.rig.repository import lose_object
from fimg_pipeline_tests.source.repositories import contents, git, settings


def test_release_tag_and_checkout_have_the_same_content(sample: SampleSource, tmp_path: Path) -> None:
    release = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), PACKAGES)
    standing = resolve(settings(sample, tmp_path), PACKAGES)
    assert (release.fate.ref, release.version, release.fate.dirty) == ("v1.11.2", "1.11.2", False)
    assert release.fate.commit == git(sample.fate, "rev-parse", "v1.11.2^{commit}")
    assert contents(release) == contents(standing)
    assert set(release.packages) == set(PACKAGES)


def test_a_commit_changes_its_package_alone(sample: SampleSource, tmp_path: Path) -> None:
    before = contents(resolve(settings(sample, tmp_path), PACKAGES))
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    after = contents(resolve(settings(sample, tmp_path), PACKAGES))
    assert {name for name in PACKAGES if before[name] != after[name]} == {"proxy"}


def test_submodules_stand_at_their_pins_whatever_is_checked_out(sample: SampleSource, tmp_path: Path) -> None:
    pinned = git(sample.fate, "rev-parse", "HEAD:fateflow")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    (sample.fate / "fateflow/other").write_text("x")
    git(sample.fate / "fateflow", "add", "other")
    git(sample.fate / "fateflow", *identity, "commit", "-qm", "not pinned")
    release = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["fateflow"])
    assert release.repositories["fateflow"].commit == pinned


@pytest.mark.parametrize("broken", ["an empty folder", "a file that leads nowhere"])
def test_a_broken_submodule_is_not_taken_for_fate(sample: SampleSource, tmp_path: Path, broken: str) -> None:
    link = sample.fate / "eggroll/.git"
    link.unlink()
    link.mkdir() if broken == "an empty folder" else link.write_text("gitdir: ../nowhere\n")
    with pytest.raises(SourceError, match=r"submodule eggroll: .*eggroll/\.git leads to no repository"):
        resolve(settings(sample, tmp_path), ["eggroll"])


def test_a_checkout_whose_path_has_a_colon(sample: SampleSource, tmp_path: Path) -> None:
    """Settings refuse such paths; a link may lead to one."""
    moved = tmp_path / 'with:a"colon'
    sample.fate.rename(moved)
    sample.fate.symlink_to(moved)
    assert resolve(settings(sample, tmp_path), ["conf"]).packages["conf"].content


def test_a_checkout_whose_path_has_a_line_break(sample: SampleSource, tmp_path: Path) -> None:
    moved = tmp_path / "with\na line break"
    sample.fate.rename(moved)
    sample.fate.symlink_to(moved)
    with pytest.raises(SourceError, match="a path with a line break in it is not supported"):
        resolve(settings(sample, tmp_path), ["conf"])


def test_repositories_of_a_kind_that_is_not_supported(sample: SampleSource, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "new")
    with pytest.raises(SourceError, match="SHA-256"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "new")), ["conf"])
    git(tmp_path, "clone", "--quiet", "--bare", str(sample.fate), "bare")
    with pytest.raises(SourceError, match="is a bare repository"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "bare")), ["conf"])


def test_a_symlinked_fate_dir(sample: SampleSource, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sample.fate)
    linked = resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "link")), ["conf"])
    assert contents(linked) == contents(resolve(settings(sample, tmp_path), ["conf"]))


def test_errors_about_fate_dir(sample: SampleSource, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    cases = {
        str(tmp_path / "absent"): "is not a folder",
        str(plain): "is not a git checkout",
        str(sample.fate / "conf"): "is a folder inside another git checkout",
        str(sample.fate_llm): "has no fate.env",
    }
    for folder, message in cases.items():
        with pytest.raises(SourceError, match=f"FATE_DIR={folder} .*{message}"):
            resolve(settings(sample, tmp_path, FATE_DIR=folder), ["fate"])


def test_a_checkout_without_commits(sample: SampleSource, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(SourceError, match="has no commit yet"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "empty")), ["fate"])


def test_missing_ref(sample: SampleSource, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"TAG=9.9.9-release stands for the git ref v9.9.9.*does not have"):
        resolve(settings(sample, tmp_path, TAG="9.9.9-release"), ["fate"])


def test_a_head_that_can_not_be_read_is_no_missing_commit(sample: SampleSource, tmp_path: Path) -> None:
    commit = git(sample.fate, "rev-parse", "HEAD")
    lose_object(sample.fate, "HEAD")
    with pytest.raises(SourceError, match=f"the commit it is at, {commit[:12]}, can't be read"):
        resolve(settings(sample, tmp_path), ["conf"])


def test_a_fate_is_itself_however_it_is_asked_for(sample: SampleSource, tmp_path: Path) -> None:
    """Passwords are renewed, and people go from https to ssh: that makes no other FATE of it."""

    def identity(origin: str) -> str:
        git(sample.fate, "config", "remote.origin.url", origin)
        return fate_identity(settings(sample, tmp_path))

    same = {
        identity(origin)
        for origin in (
            "https://git.example/fate/FATE.git",
            "https://me:old@git.example/fate/FATE",
            "https://me:n/e:w@git.example:8443/fate/FATE.git/",
            "git@git.example:fate/FATE.git",
            "ssh://git@git.example:2222/fate/FATE.git",
        )
    }
    others = {identity(origin) for origin in ("https://git.example/other/FATE.git", "/data/FATE.git", "/data/FATE2")}
    assert len(same) == 1 and len(others) == 3 and not same & others


def test_a_file_that_never_ends_is_no_fate_env(sample: SampleSource, tmp_path: Path) -> None:
    text = (sample.fate / "fate.env").read_text()
    commit_change(sample.fate, "fate.env", text + "A=1\n" * 30_000, "Long")
    with pytest.raises(SourceError, match=r"fate.env at .* has 1\d{5} characters: this is not FATE's"):
        resolve(settings(sample, tmp_path), ["proxy"])
