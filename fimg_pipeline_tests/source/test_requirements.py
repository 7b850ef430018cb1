"""FATE's requirement files: their text, and the day they are resolved as of."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.source import requirements
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline_tests.source.repositories import contents, git, settings


def test_requirements_are_in_three_packages(sample: SampleSource, tmp_path: Path) -> None:
    before = contents(resolve(settings(sample, tmp_path), PACKAGES))
    text = (sample.fate / "python/requirements.txt").read_text()
    commit_change(sample.fate, "python/requirements.txt", text + "# one more line\n", "Requirements")
    after = contents(resolve(settings(sample, tmp_path), PACKAGES))
    assert {name for name in PACKAGES if before[name] != after[name]} == {"requirements", "graph", "fate"}


def test_the_text_of_the_requirement_files_is_known(sample: SampleSource, tmp_path: Path) -> None:
    found = resolve(settings(sample, tmp_path), ["requirements"]).requirements
    files = (sample.fate / "python").glob("requirements*.txt")
    assert found == {file.name: file.read_text() for file in files} and "requirements.txt" in found


def commit_later(repository: Path, path: str, text: str) -> None:
    """A commit of another day than the sample's."""
    when = "2030-01-01T00:00:00Z"
    environment = {**os.environ, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    (repository / path).write_text(text)
    git(repository, "add", path)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", repository, *identity, "commit", "-qm", "later"], check=True, env=environment)


def test_other_commits_do_not_move_the_date_requirements_are_resolved_at(sample: SampleSource, tmp_path: Path) -> None:
    before = resolve(settings(sample, tmp_path), ["requirements"]).requirements_date
    commit_later(sample.fate, "conf/later.yaml", "a: 1\n")
    assert before and resolve(settings(sample, tmp_path), ["requirements"]).requirements_date == before


def test_a_shallow_clone_resolves_requirements_as_of_its_commit_and_knows(sample: SampleSource, tmp_path: Path) -> None:
    commit_change(sample.fate, "conf/later.yaml", "a: 1\n", "Later")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", str(tmp_path / "shallow"))
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "shallow")), ["requirements"])
    assert found.requirements_date == git(sample.fate, "log", "-1", "--format=%cs")
    assert not found.requirements_date_certain
    assert found.only([]).requirements_date_certain
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")
    assert resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "shallow")), ["requirements"]) == replace(
        resolve(settings(sample, tmp_path), ["requirements"]), fate=ANY, repositories=ANY
    )


def test_a_cut_history_is_never_sure(sample: SampleSource, tmp_path: Path) -> None:
    """They may have been the same before it was cut, though they were others where it was."""
    text = (sample.fate / "python/requirements.txt").read_text()
    commit_later(sample.fate, "python/requirements.txt", text + "six\n")
    commit_later(sample.fate, "python/requirements.txt", text)
    for depth in (1, 2):
        clone = tmp_path / f"depth{depth}"
        git(tmp_path, "clone", "-q", f"--depth={depth}", f"file://{sample.fate}", str(clone))
        found = resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["requirements"])
        assert (found.requirements_date, found.requirements_date_certain) == ("2030-01-01", False)


def test_of_a_releases_files_the_day_is_known_whatever_was_cut(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_change(sample.fate, "conf/later.yaml", "a: 1\n", "Later")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", str(tmp_path / "shallow"))
    listing = git(sample.fate, "ls-tree", "HEAD:python").splitlines()
    files = sorted(line.split("\t")[1] + " " + line.split()[2] for line in listing if "\trequirements" in line)
    digest = hashlib.sha256("".join(f"{line}\n" for line in files).encode()).hexdigest()[:40]
    monkeypatch.setitem(requirements.RELEASED, digest, "2023-05-31")
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "shallow")), ["requirements"])
    assert (found.requirements_date, found.requirements_date_certain) == ("2023-05-31", True)
    # A whole history says it by itself.
    assert resolve(settings(sample, tmp_path), ["requirements"]).requirements_date != "2023-05-31"


def test_reverted_requirements_are_resolved_as_of_their_first_day(sample: SampleSource, tmp_path: Path) -> None:
    wanted = settings(sample, tmp_path)
    before = resolve(wanted, ["requirements"])
    text = (sample.fate / "python/requirements.txt").read_text()
    commit_later(sample.fate, "python/requirements.txt", text + "six\n")
    changed = resolve(wanted, ["requirements"])
    commit_later(sample.fate, "python/requirements.txt", text)
    again = resolve(wanted, ["requirements"])
    assert changed.requirements_date == "2030-01-01"
    assert (again.requirements_date, contents(again)) == (before.requirements_date, contents(before))


def test_each_package_made_of_requirement_files_is_of_the_same_day(sample: SampleSource, tmp_path: Path) -> None:
    whole = resolve(settings(sample, tmp_path), ["requirements", "graph"])
    for name in ("requirements", "graph"):
        assert resolve(settings(sample, tmp_path), [name]).requirements_date == whole.requirements_date != ""
        assert whole.only([name]).requirements_date == whole.requirements_date
    assert whole.only([]).requirements_date == ""


@pytest.mark.parametrize("stamp", ["", " -1 +0000", " 99999999999999999999 +0000", " soon"])
def test_a_commit_without_a_day_says_nothing(sample: SampleSource, tmp_path: Path, stamp: str) -> None:
    """Anybody can write anything into a commit; those around it have days."""
    before = resolve(settings(sample, tmp_path), ["requirements"])
    text = (sample.fate / "python/requirements.txt").read_text()
    for what in (text + "six\n", text):
        commit_change(sample.fate, "python/requirements.txt", what, "Odd")
        raw = git(sample.fate, "cat-file", "commit", "HEAD") + "\n"
        lines = [f"author Mallory <m@x>{stamp}" if line.startswith("author ") else line for line in raw.split("\n")]
        odd = subprocess.run(
            ["git", "-C", sample.fate, "hash-object", "-t", "commit", "-w", "--literally", "--stdin"],
            input="\n".join(lines).encode(), capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        git(sample.fate, "reset", "-q", "--hard", odd)
    after = resolve(settings(sample, tmp_path), ["requirements"])
    assert (after.requirements_date, contents(after)) == (before.requirements_date, contents(before))


def test_what_people_like_to_see_of_commits_does_not_matter(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolve(settings(sample, tmp_path), ["requirements"])
    own = tmp_path / "gitconfig"
    own.write_text("[log]\n showSignature = true\n follow = true\n decorate = full\n[color]\n ui = always\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(own))
    raw = git(sample.fate, "cat-file", "commit", "HEAD") + "\n"
    head, _, message = raw.partition("\n\n")
    signed = f"{head}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n{message}"
    made = subprocess.run(
        ["git", "-C", sample.fate, "hash-object", "-t", "commit", "-w", "--stdin"],
        input=signed.encode(), capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    git(sample.fate, "reset", "-q", "--hard", made)
    after = resolve(settings(sample, tmp_path / "new"), ["requirements"])
    assert after.requirements_date == before.requirements_date
