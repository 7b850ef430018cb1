"""Resolving source from real git repositories: refs, submodules, dirty checkouts, and every way it can be wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.git import FetchError, Git, GitError
from fimg_pipeline.source.model import SourceError, SourceSnapshot
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.resolve import git_ref_of, resolve
from fimg_pipeline.source.store import ObjectStore

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def settings(sample: SampleSource, tmp_path: Path, **environ: str) -> Settings:
    own = {
        "FATE_DIR": str(sample.fate),
        "FIMG_HOME": str(tmp_path / "home"),
        "FATE_LLM_URL": str(sample.fate_llm),
        "IPCL_URL": str(sample.ipcl),
        **environ,
    }
    return load(environ=own, directory=tmp_path)


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def git_as_owner(where: Path, *arguments: str) -> str:
    """git as the user who made the repository sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", raising=False)
        return git(where, *arguments)


def contents(snapshot: SourceSnapshot) -> dict[str, str]:
    return {name: package.content for name, package in snapshot.packages.items()}


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of modification of every file, to see that nothing was touched."""
    return {
        str(file): (file.lstat().st_size, file.lstat().st_mtime_ns)
        for root, _, files in os.walk(folder)
        for file in (Path(root) / name for name in files)
    }


@pytest.mark.parametrize(
    ("tag", "ref"),
    [("1.11.2-release", "v1.11.2"), ("latest", None), ("1.11.2", None), ("1.11-release", None), ("x-release", None)],
)
def test_what_a_tag_stands_for(tag: str, ref: str | None) -> None:
    assert git_ref_of(tag) == ref


def test_release_tag_and_checkout_have_the_same_content(sample: SampleSource, tmp_path: Path) -> None:
    release = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), PACKAGES)
    standing = resolve(settings(sample, tmp_path), PACKAGES)
    assert (release.fate.ref, release.version, release.fate.dirty) == ("v1.11.2", "1.11.2", False)
    assert release.fate.commit == git(sample.fate, "rev-parse", "v1.11.2^{commit}")
    assert contents(release) == contents(standing)
    assert set(release.packages) == set(PACKAGES)


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


def test_a_commit_changes_its_package_alone(sample: SampleSource, tmp_path: Path) -> None:
    before = contents(resolve(settings(sample, tmp_path), PACKAGES))
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    after = contents(resolve(settings(sample, tmp_path), PACKAGES))
    assert {name for name in PACKAGES if before[name] != after[name]} == {"proxy"}


def test_requirements_are_in_two_packages(sample: SampleSource, tmp_path: Path) -> None:
    before = contents(resolve(settings(sample, tmp_path), PACKAGES))
    text = (sample.fate / "python/requirements.txt").read_text()
    commit_change(sample.fate, "python/requirements.txt", text + "# one more line\n", "Requirements")
    after = contents(resolve(settings(sample, tmp_path), PACKAGES))
    assert {name for name in PACKAGES if before[name] != after[name]} == {"requirements", "fate"}


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


def test_submodules_stand_at_their_pins_whatever_is_checked_out(sample: SampleSource, tmp_path: Path) -> None:
    pinned = git(sample.fate, "rev-parse", "HEAD:fateflow")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    (sample.fate / "fateflow/other").write_text("x")
    git(sample.fate / "fateflow", "add", "other")
    git(sample.fate / "fateflow", *identity, "commit", "-qm", "not pinned")
    release = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["fateflow"])
    assert release.repositories["fateflow"].commit == pinned


def test_submodules_not_checked_out_are_fetched(sample: SampleSource, tmp_path: Path) -> None:
    expected = contents(resolve(settings(sample, tmp_path), ["fateflow"]))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    fetched = resolve(settings(sample, tmp_path, FATE_DIR=str(clone), FIMG_HOME=str(tmp_path / "other")), ["fateflow"])
    assert contents(fetched) == expected


def test_a_fetch_that_was_killed_does_not_stand_in_the_way(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "submodule", "deinit", "--force", "eggroll")
    shutil.rmtree(sample.fate / ".git/modules/eggroll")
    store = ObjectStore.open(tmp_path / "home")
    (store.git_dir / "shallow.lock").touch()
    assert resolve(settings(sample, tmp_path), ["eggroll"]).packages["eggroll"].content


@pytest.mark.parametrize("broken", ["an empty folder", "a file that leads nowhere"])
def test_a_broken_submodule_is_not_taken_for_fate(sample: SampleSource, tmp_path: Path, broken: str) -> None:
    link = sample.fate / "eggroll/.git"
    link.unlink()
    link.mkdir() if broken == "an empty folder" else link.write_text("gitdir: ../nowhere\n")
    with pytest.raises(SourceError, match=r"submodule eggroll: .*eggroll/\.git leads to no repository"):
        resolve(settings(sample, tmp_path), ["eggroll"])


def test_a_repository_within_the_checkout_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "init", "--quiet", "python/nested")
    (sample.fate / "python/nested/file").touch()
    git(sample.fate / "python/nested", "add", "file")
    git(sample.fate / "python/nested", *AUTHOR, "commit", "--quiet", "--message", "One")
    with pytest.raises(SourceError, match=r"git repositories that are no submodules: python/nested"):
        resolve(settings(sample, tmp_path), ["fate"])


def test_a_checkout_whose_path_has_a_colon(sample: SampleSource, tmp_path: Path) -> None:
    """Settings refuse such paths; a link may lead to one."""
    moved = tmp_path / 'with:a"colon'
    sample.fate.rename(moved)
    sample.fate.symlink_to(moved)
    assert resolve(settings(sample, tmp_path), ["conf"]).packages["conf"].content


def test_repositories_of_a_kind_that_is_not_supported(sample: SampleSource, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "new")
    with pytest.raises(SourceError, match="SHA-256"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "new")), ["conf"])
    git(tmp_path, "clone", "--quiet", "--bare", str(sample.fate), "bare")
    with pytest.raises(SourceError, match="is a bare repository"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "bare")), ["conf"])


def test_submodules_are_fetched_from_repositories_of_somebody_else(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["fateflow"])
    assert found.repositories["fateflow"].commit == git_as_owner(sample.fate, "rev-parse", "HEAD:fateflow")


def test_submodule_out_of_reach_is_a_clear_error(sample: SampleSource, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    git(clone, "config", "submodule.fateflow.url", str(tmp_path / "gone.git"))
    with pytest.raises(FetchError, match=r"submodule fateflow: commit \w+, pinned by FATE .*gone.git") as caught:
        resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["fateflow"])
    assert "submodule update --init fateflow" in str(caught.value)


def test_a_submodule_url_that_runs_programs_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    git(clone, "config", "submodule.fateflow.url", f"ext::sh -c touch% {tmp_path}/pwned")
    with pytest.raises(SourceError, match="none git may use"):
        resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["fateflow"])
    assert not (tmp_path / "pwned").exists()


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


def test_a_shallow_clone_resolves_requirements_as_of_its_commit(sample: SampleSource, tmp_path: Path) -> None:
    commit_change(sample.fate, "conf/later.yaml", "a: 1\n", "Later")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", str(tmp_path / "shallow"))
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "shallow")), ["requirements"])
    assert found.requirements_date == git(sample.fate, "log", "-1", "--format=%cs")


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


def test_a_symlinked_fate_dir(sample: SampleSource, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sample.fate)
    linked = resolve(settings(sample, tmp_path, FATE_DIR=str(tmp_path / "link")), ["conf"])
    assert contents(linked) == contents(resolve(settings(sample, tmp_path), ["conf"]))


def test_git_never_asks() -> None:
    environment = Git()._environment
    assert environment["GIT_TERMINAL_PROMPT"] == "0" and environment["GIT_ASKPASS"] == "true"


def test_passwords_in_urls_are_not_told(sample: SampleSource, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        resolve(settings(sample, tmp_path, FATE_LLM_URL="http://user:p@ss/word@127.0.0.1:1/x.git"), ["fate_llm"])
    assert "p@ss" not in str(caught.value) and "word" not in str(caught.value)


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


def drop_blob(repository: Path, path: str) -> None:
    """Removes one file's content from a repository, as partial public copies have it."""
    objects = repository / ".git/objects"
    for pack in list((objects / "pack").glob("*.pack")):
        moved = repository / pack.name
        pack.rename(moved)
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as stream:
            subprocess.run(["git", "-C", repository, "unpack-objects", "-q"], stdin=stream, check=True)
        moved.unlink()
    blob = git(repository, "rev-parse", f"HEAD:{path}")
    (objects / blob[:2] / blob[2:]).unlink()


def some_file(repository: Path, folder: str) -> str:
    return git(repository, "ls-tree", "-r", "--name-only", "HEAD", "--", folder).splitlines()[0]


def test_missing_content_of_examples_is_left_out_and_named(sample: SampleSource, tmp_path: Path) -> None:
    path = some_file(sample.fate, "examples")
    drop_blob(sample.fate, path)
    snapshot = resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["examples"])
    assert snapshot.packages["examples"].missing == (path,)
    names = {
        f.path for f in package_files(tmp_path / "home", snapshot.packages["examples"], snapshot.object_directories)
    }
    assert names and path not in names


def test_missing_content_elsewhere_is_an_error_that_names_it(sample: SampleSource, tmp_path: Path) -> None:
    path = some_file(sample.fate, "conf")
    drop_blob(sample.fate, path)
    with pytest.raises(SourceError, match=f"package conf: the content of 1 files is missing.*: {path}"):
        resolve(settings(sample, tmp_path, TAG="1.11.2-release"), ["conf"])


def test_fate_llm_at_a_version_that_is_not_there(sample: SampleSource, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"FATE_LLM_URL=.*fate-llm has no v9\.9\.9"):
        resolve(settings(sample, tmp_path, Build_LLM_VERSION="v9.9.9"), ["fate_llm"])


def test_a_repository_on_this_machine_is_read_where_it_is(sample: SampleSource, tmp_path: Path) -> None:
    found = resolve(settings(sample, tmp_path, FATE_LLM_URL=f"file://{sample.fate_llm}"), ["fate_llm"])
    assert str(sample.fate_llm / ".git/objects") in found.object_directories
    assert package_files(tmp_path / "home", found.packages["fate_llm"], found.object_directories)


@pytest.fixture
def server(sample: SampleSource) -> Iterator[str]:
    """The URL of a git server with the sample's repositories."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen([*command, f"--base-path={sample.fate_llm.parent}"], stderr=subprocess.DEVNULL)
    url = f"git://127.0.0.1:{port}"
    try:
        for _ in range(100):
            if daemon.poll() is not None:
                raise AssertionError("git daemon did not start")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield url
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_release_is_fetched_once(sample: SampleSource, tmp_path: Path, server: str) -> None:
    wanted = settings(sample, tmp_path, FATE_LLM_URL=f"{server}/fate-llm")
    commit = git(sample.fate_llm, "rev-parse", "v1.2.0^{commit}")
    assert resolve(wanted, ["fate_llm"]).repositories["fate_llm"].commit == commit
    sample.fate_llm.rename(tmp_path / "gone")
    assert resolve(wanted, ["fate_llm"]).repositories["fate_llm"].commit == commit


def test_a_server_without_that_version(sample: SampleSource, tmp_path: Path, server: str) -> None:
    wanted = settings(sample, tmp_path, FATE_LLM_URL=f"{server}/fate-llm", Build_LLM_VERSION="v9.9.9")
    with pytest.raises(GitError, match=r"v9\.9\.9 can't be fetched from git://.*couldn't find remote ref") as caught:
        resolve(wanted, ["fate_llm"])
    assert not caught.value.transient and caught.value.hint is not None and "Build_LLM_VERSION" in caught.value.hint


def test_ipcl_checkout_that_is_none(sample: SampleSource, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match=r"IPCL_PKG_DIR=.* is not a git checkout"):
        resolve(settings(sample, tmp_path, IPCL_PKG_DIR=str(tmp_path / "plain")), ["ipcl_pkg"])


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


def test_repositories_beside_fate_may_belong_to_somebody_else(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = resolve(settings(sample, tmp_path), ["fate_llm", "ipcl_pkg"])
    assert found.repositories["fate_llm"].commit == git_as_owner(sample.fate_llm, "rev-parse", "v1.2.0^{commit}")


def test_a_repository_without_commits_inside_fate_dir_is_named(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "init", "-q", "scratch")
    with pytest.raises(SourceError, match=r"scratch/.*commit") as caught:
        resolve(settings(sample, tmp_path), ["conf"])
    assert caught.value.hint is not None and " status " in caught.value.hint


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
    with pytest.raises(SourceError, match=r"'\.\./\.\./Dockerfile', which would leave its folder") as caught:
        resolve(settings(sample, tmp_path, TAG="9.9.9-release"), ["proxy"])
    assert caught.value.hint is not None and "tampered" in caught.value.hint


def test_a_change_of_the_same_size_in_the_second_of_the_commit_is_seen(sample: SampleSource, tmp_path: Path) -> None:
    for number in range(3):  # the index and the file have to be of one second
        commit_change(sample.fate, "c/proxy/conf/racy.conf", f"# one {number}\n", "Racy")
        with (sample.fate / "c/proxy/conf/racy.conf").open("r+") as file:
            file.write(f"# two {number}\n")
        assert resolve(settings(sample, tmp_path), ["proxy"]).fate.dirty


def test_a_clone_without_blobs_is_told_as_such(sample: SampleSource, tmp_path: Path) -> None:
    git(sample.fate, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{sample.fate}", str(partial))
    with pytest.raises(SourceError, match=r"FATE_DIR=.*partial: fate\.env at v1\.11\.2 .* can't be read") as caught:
        resolve(settings(sample, tmp_path, FATE_DIR=str(partial), TAG="1.11.2-release"), ["conf"])
    assert caught.value.hint is not None and "--filter" in caught.value.hint


def test_a_head_that_can_not_be_read_is_no_missing_commit(sample: SampleSource, tmp_path: Path) -> None:
    commit = git(sample.fate, "rev-parse", "HEAD")
    (sample.fate / ".git/objects" / commit[:2] / commit[2:]).unlink()
    with pytest.raises(SourceError, match=f"the commit it is at, {commit[:12]}, can't be read"):
        resolve(settings(sample, tmp_path), ["conf"])


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


def test_git_has_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh asks the terminal, not its input: what git starts has none, even where we have one."""
    (tmp_path / "ssh").write_text("#!/bin/sh\n{ : < /dev/tty; } 2> /dev/null && touch asked\nexit 1\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(tmp_path / "ssh"))
    monkeypatch.chdir(tmp_path)
    ask = (
        "from fimg_pipeline.source.git import Git; print(Git().run('ls-remote', 'ssh://git@host.invalid/x').returncode)"
    )
    on_a_terminal = f"import pty, sys; pty.spawn([sys.executable, '-c', {ask!r}])"
    done = subprocess.run([sys.executable, "-c", on_a_terminal], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "128"
    assert not (tmp_path / "asked").exists()


def test_a_link_in_the_place_of_a_folder_is_refused(sample: SampleSource, tmp_path: Path) -> None:
    shutil.rmtree(sample.fate / "c/proxy/lua")
    (sample.fate / "c/proxy/lua").symlink_to("conf")
    with pytest.raises(SourceError, match=r"package proxy: c/proxy/lua in fate is a symbolic link"):
        resolve(settings(sample, tmp_path), ["proxy"])
