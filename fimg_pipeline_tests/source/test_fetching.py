"""Repositories that are not in FATE_DIR: fetched, read where they are, or named when out of reach."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.git import FetchError, GitError
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline_tests.source.repositories import contents, git, git_as_owner, settings


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


def test_passwords_in_urls_are_not_told(sample: SampleSource, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        resolve(settings(sample, tmp_path, FATE_LLM_URL="http://user:p@ss/word@127.0.0.1:1/x.git"), ["fate_llm"])
    assert "p@ss" not in str(caught.value) and "word" not in str(caught.value)


def test_fate_llm_at_a_version_that_is_not_there(sample: SampleSource, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"FATE_LLM_URL=.*fate-llm has no v9\.9\.9"):
        resolve(settings(sample, tmp_path, Build_LLM_VERSION="v9.9.9"), ["fate_llm"])


def test_a_repository_on_this_machine_is_read_where_it_is(sample: SampleSource, tmp_path: Path) -> None:
    found = resolve(settings(sample, tmp_path, FATE_LLM_URL=f"file://{sample.fate_llm}"), ["fate_llm"])
    assert str(sample.fate_llm / ".git/objects") in found.object_directories
    assert package_files(tmp_path / "home", found.packages["fate_llm"], found.object_directories)


@pytest.fixture
def daemon(sample: SampleSource) -> Iterator[tuple[str, int]]:
    """The URL of a git server with the sample's repositories, and its process, which leads its group."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen(
        [*command, f"--base-path={sample.fate_llm.parent}"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"git://127.0.0.1:{port}"
    try:
        for _ in range(100):
            if daemon.poll() is not None:
                raise AssertionError("git daemon did not start")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield url, daemon.pid
    finally:
        # A process that Dagster ran in may ignore what ends others, and so do those that it starts.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


@pytest.fixture
def server(daemon: tuple[str, int]) -> str:
    return daemon[0]


def test_whoever_only_looks_does_not_wait_for_a_slow_server(
    sample: SampleSource, tmp_path: Path, daemon: tuple[str, int]
) -> None:
    """It is fetched all the same, once, and is there for the next look."""
    url, process = daemon
    wanted = settings(sample, tmp_path, FATE_LLM_URL=f"{url}/fate-llm")
    commit = git(sample.fate_llm, "rev-parse", "v1.2.0^{commit}")
    os.killpg(process, signal.SIGSTOP)
    with pytest.raises(FetchError, match=r"v1\.2\.0 is being fetched from git://"):
        resolve(wanted, ["fate_llm"], patience=0.5)
    with pytest.raises(FetchError, match="fate-llm waits for something else that is being fetched"):
        resolve(wanted, ["fate_llm"], patience=0.5)
    with pytest.raises(FetchError, match="ls-remote did not finish within"):
        ObjectStore.open(tmp_path / "home", patience=0.5).remote_refs(f"{url}/fate-llm", ["refs/tags/v1"], mirror=None)
    os.killpg(process, signal.SIGCONT)
    store = ObjectStore.open(tmp_path / "home")
    until = time.monotonic() + 30
    while not store.has(f"{commit}^{{tree}}"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert resolve(wanted, ["fate_llm"], patience=30).repositories["fate_llm"].commit == commit


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


def test_repositories_beside_fate_may_belong_to_somebody_else(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = resolve(settings(sample, tmp_path), ["fate_llm", "ipcl_pkg"])
    assert found.repositories["fate_llm"].commit == git_as_owner(sample.fate_llm, "rev-parse", "v1.2.0^{commit}")
