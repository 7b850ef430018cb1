"""Refs that tags stand for: FATE_DIR's own, and those of where it was cloned from, which move without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.git import FetchError
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.source.repositories import AUTHOR, everything_below, git, settings

PACKAGES = ("proxy", "requirements")


@pytest.fixture
def clone(sample: SampleSource, tmp_path: Path) -> Path:
    """A clone of the sample's FATE, whose branch is called develop."""
    git(sample.fate, "checkout", "-q", "-B", "develop")
    git(tmp_path, "clone", "-q", str(sample.fate), "clone")
    return tmp_path / "clone"


def of_clone(sample: SampleSource, tmp_path: Path, ref: str | None, tag: str = "nightly") -> Settings:
    found = settings(sample, tmp_path, FATE_DIR=str(tmp_path / "clone"), TAG=tag)
    if ref is not None:
        record(found.home, tag, ref)
    return found


def test_a_branch_of_the_origin_is_followed_and_the_clone_left_alone(
    sample: SampleSource, tmp_path: Path, clone: Path
) -> None:
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    before = everything_below(clone)
    found = resolve(of_clone(sample, tmp_path, "origin/develop"), PACKAGES)
    assert found.fate.commit == git(sample.fate, "rev-parse", "HEAD") != git(clone, "rev-parse", "HEAD")
    assert (found.fate.ref, found.fate.dirty) == ("origin/develop", False)
    # As a clone that has been fetched into finds it.
    assert (found.requirements_date, found.requirements_date_certain) == (
        resolve(settings(sample, tmp_path / "other"), PACKAGES).requirements_date,
        True,
    )
    assert everything_below(clone) == before


def test_what_is_there_is_not_fetched(
    sample: SampleSource, tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    own = of_clone(sample, tmp_path, "origin/develop")
    found = resolve(own, PACKAGES)

    def fetch(*_: object, **__: object) -> str:
        raise AssertionError("it was fetched again")

    monkeypatch.setattr(ObjectStore, "fetch", fetch)
    assert resolve(own, PACKAGES) == found


def test_a_branch_is_followed_that_was_rewritten(sample: SampleSource, tmp_path: Path, clone: Path) -> None:
    own = of_clone(sample, tmp_path, "origin/develop")
    for text in ("# one\n", "# two\n"):
        commit_change(sample.fate, "c/proxy/conf/note.conf", text, "A note in the proxy")
        assert resolve(own, PACKAGES).fate.commit == git(sample.fate, "rev-parse", "HEAD")
        git(sample.fate, "reset", "-q", "--hard", "HEAD~1")
    assert resolve(own, PACKAGES).fate.commit == git(clone, "rev-parse", "HEAD")


def test_beside_submodules_that_were_fetched_without_their_history(
    sample: SampleSource, tmp_path: Path, clone: Path
) -> None:
    own = of_clone(sample, tmp_path, "origin/develop")
    assert resolve(own, ["fateflow", *PACKAGES]).requirements_date_certain
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    found = resolve(own, ["fateflow", *PACKAGES])
    assert found.fate.commit == git(sample.fate, "rev-parse", "HEAD") and found.requirements_date_certain


def test_a_clone_whose_history_is_cut(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "checkout", "-q", "-B", "develop")
    # Something that is cut off.
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# before\n", "An earlier note")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", "clone")
    # One commit, which stands on what the clone has, and several, of which only the last is fetched.
    for several in (1, 2, 3, 1):
        for each in range(several):
            commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {each} of {several}\n", "A note in the proxy")
        found = resolve(of_clone(sample, tmp_path, "origin/develop"), PACKAGES)
        assert found.fate.commit == git(sample.fate, "rev-parse", "HEAD")
        assert not found.requirements_date_certain


def test_a_clone_that_is_made_whole(sample: SampleSource, tmp_path: Path) -> None:
    """Also of what was fetched while it was cut its history is known then, and of what comes after that."""
    git(sample.fate, "checkout", "-q", "-B", "develop")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# before\n", "An earlier note")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", str(clone))
    followed, standing = of_clone(sample, tmp_path, "origin/develop"), of_clone(sample, tmp_path, None, "latest")
    for each in range(3):
        commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {each}\n", "A note in the proxy")
    assert not resolve(followed, PACKAGES).requirements_date_certain
    git(clone, "fetch", "-q", "--unshallow")
    whole = resolve(settings(sample, tmp_path / "anew"), PACKAGES).requirements_date
    assert (found := resolve(followed, PACKAGES)).requirements_date == whole and found.requirements_date_certain
    git(clone, "reset", "-q", "--hard", "origin/develop")
    commit_change(clone, "c/proxy/conf/note.conf", "# mine\n", "A note in the proxy")
    assert resolve(standing, PACKAGES).requirements_date_certain
    # Another clone beside the same state folder, which is cut again.
    shutil.rmtree(clone)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", str(clone))
    assert not resolve(followed, PACKAGES).requirements_date_certain


@pytest.mark.parametrize("annotated", [False, True])
def test_a_release_that_only_the_origin_has(sample: SampleSource, tmp_path: Path, clone: Path, annotated: bool) -> None:
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    git(sample.fate, *AUTHOR, "tag", *(["-a", "-m", "x"] if annotated else []), "v1.11.9")
    found = resolve(of_clone(sample, tmp_path, None, tag="1.11.9-release"), PACKAGES)
    assert (found.fate.ref, found.fate.commit) == ("v1.11.9", git(sample.fate, "rev-parse", "HEAD"))


def test_a_branch_and_a_commit_of_the_clone_itself(sample: SampleSource, tmp_path: Path, clone: Path) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    commit_change(clone, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    assert resolve(of_clone(sample, tmp_path, "develop"), PACKAGES).fate.commit == git(clone, "rev-parse", "HEAD")
    assert resolve(of_clone(sample, tmp_path, commit), PACKAGES).fate.commit == commit


def test_a_branch_that_only_the_origin_has_is_offered(sample: SampleSource, tmp_path: Path, clone: Path) -> None:
    git(sample.fate, "branch", "next")
    git(clone, "fetch", "-q")
    with pytest.raises(SourceError, match=r"--ref origin/next"):
        resolve(of_clone(sample, tmp_path, "next"), PACKAGES)


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("origin/none", "stands for the git ref origin/none, which the origin of FATE_DIR=.*clone does not have"),
        ("none", "stands for the git ref none, which FATE_DIR=.*clone does not have"),
    ],
)
def test_a_ref_that_is_not_there(sample: SampleSource, tmp_path: Path, clone: Path, ref: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        resolve(of_clone(sample, tmp_path, ref), PACKAGES)


def test_an_origin_that_does_not_answer(sample: SampleSource, tmp_path: Path, clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "http://user:p@ss@127.0.0.1:1/FATE.git")
    with pytest.raises(FetchError, match=r"FATE\.git can't be asked for its refs") as caught:
        resolve(of_clone(sample, tmp_path, "origin/develop"), PACKAGES)
    assert caught.value.transient and "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("configured", "told"),
    [
        (["remote", "remove", "origin"], "was not cloned from anywhere"),
        (["remote", "set-url", "origin", "ext::sh -c touch% pwned"], "is no URL git may use"),
    ],
)
def test_an_origin_that_is_none(
    sample: SampleSource, tmp_path: Path, clone: Path, configured: list[str], told: str
) -> None:
    git(clone, *configured)
    with pytest.raises(SourceError, match=f"TAG=nightly stands for origin/develop: .*{told}"):
        resolve(of_clone(sample, tmp_path, "origin/develop"), PACKAGES)
