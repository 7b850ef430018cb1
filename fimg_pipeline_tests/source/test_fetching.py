"""Repositories that are not in FATE_DIR: fetched, read where they are, or named when out of reach."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.git import FetchError, GitError
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import ObjectStore, Remotes
from fimg_pipeline_tests.source.repositories import AUTHOR, contents, git, git_as_owner, settings


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
    # Nor is it where .gitmodules says, beside the origin.
    git(clone, "remote", "set-url", "origin", str(tmp_path / "nowhere/FATE.git"))
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


def test_a_branch_may_move_a_submodule_to_another_repository(sample: SampleSource, tmp_path: Path) -> None:
    """The checkout, of another branch, has it from where that commit is not."""
    clone, elsewhere = tmp_path / "clone", tmp_path / "elsewhere.git"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    git(tmp_path, "init", "-q", "--bare", str(elsewhere))
    git(clone, "config", "submodule.fateflow.url", str(elsewhere))
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["fateflow"])
    assert found.repositories["fateflow"].commit == git(sample.fate, "rev-parse", "HEAD:fateflow")
    # Where it was may be gone by now.
    git(clone, "config", "submodule.eggroll.url", str(tmp_path / "gone.git"))
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["eggroll"])
    assert found.repositories["eggroll"].commit == git(sample.fate, "rev-parse", "HEAD:eggroll")


def test_what_a_branch_declares_takes_nothing_from_what_is_configured(sample: SampleSource, tmp_path: Path) -> None:
    """An abbreviation of somebody's own git, say."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(sample.fate), str(clone))
    git(clone, "config", "submodule.fateflow.url", git(sample.fate, "config", "submodule.fateflow.url"))
    git(clone, "config", "--file", ".gitmodules", "submodule.fateflow.url", "gh:FATE-Flow.git")
    git(clone, "add", ".gitmodules")
    git(clone, *AUTHOR, "commit", "-qm", "Elsewhere")
    found = resolve(settings(sample, tmp_path, FATE_DIR=str(clone)), ["fateflow"])
    assert found.repositories["fateflow"].commit == git(sample.fate, "rev-parse", "HEAD:fateflow")


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
def server(sample: SampleSource) -> Iterator[str]:
    """The URL of a git server with the sample's repositories."""
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
        yield url
    finally:
        # A process that Dagster ran in may ignore what ends others, and so do those that it starts.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


class Slow:
    """A way to a server on which every second connection waits until it is ``free``: questions pass, fetches don't."""

    def __init__(self, server: str) -> None:
        self.free = threading.Event()
        self._to = ("127.0.0.1", int(server.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self._listener.getsockname()[1]}"
        self.count = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._relay, args=(client, self.count % 2 == 0), daemon=True).start()

    def _relay(self, client: socket.socket, waits: bool) -> None:
        if waits:
            self.free.wait(60)
        with client, socket.create_connection(self._to) as server:
            there = threading.Thread(target=_copy, args=(client, server), daemon=True)
            there.start()
            _copy(server, client)

    def close(self) -> None:
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_whoever_only_looks_does_not_wait_for_a_slow_server(sample: SampleSource, tmp_path: Path, server: str) -> None:
    """It is fetched all the same, once, and is there for the next look."""
    slow, branch = Slow(server), git(sample.fate_llm, "rev-parse", "--abbrev-ref", "HEAD")
    wanted = settings(sample, tmp_path, FATE_LLM_URL=f"{slow.url}/fate-llm", Build_LLM_VERSION=branch)
    commit = git(sample.fate_llm, "rev-parse", branch)
    with pytest.raises(FetchError, match=f"{branch} is being fetched from git://"):
        resolve(wanted, ["fate_llm"], remotes=Remotes(2))
    with pytest.raises(FetchError, match="fate-llm waits for something else that is being fetched"):
        resolve(wanted, ["fate_llm"], remotes=Remotes(2))
    slow.free.set()
    store = ObjectStore.open(tmp_path / "home")
    until = time.monotonic() + 30
    while not store.has(f"{commit}^{{tree}}"):
        assert time.monotonic() < until
        time.sleep(0.05)
    count = slow.count
    assert resolve(wanted, ["fate_llm"], remotes=Remotes(2)).repositories["fate_llm"].commit == commit
    assert slow.count == count + 1, "it is asked, and nothing is fetched again"
    slow.close()


def test_half_of_a_fetch_is_nothing(sample: SampleSource, tmp_path: Path, server: str) -> None:
    store = ObjectStore.open(tmp_path / "home")
    assert store.fetch(f"{server}/fate-llm", "v1.2.0", mirror=None)
    objects, packs = store.pieces()
    assert (objects, packs) == (0, 1), "objects that come one by one are seen before the rest"


def test_what_failed_while_nobody_waited_is_told_the_next_time(sample: SampleSource, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
        store = ObjectStore.open(tmp_path / "home", remotes=Remotes(0.5))
        with pytest.raises(FetchError, match=f"main is being fetched from {url}$"):
            store.fetch(url, "main", mirror=None)
        # What it waits for hangs up.
        silent.accept()[0].close()
        found = after(store, url)
    assert "main can't be fetched from" in found and "fatal: " in found and found.endswith("tried again in a while")
    # Whoever waits for it asks at once.
    with pytest.raises(FetchError, match=r"main can't be fetched from .*Connection refused|unable to connect"):
        ObjectStore.open(tmp_path / "home").fetch(url, "main", mirror=None)


def test_what_hangs_keeps_nothing_else_from_being_fetched(
    sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fimg_pipeline.source.git.FETCH_TIMEOUT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
        store = ObjectStore.open(tmp_path / "home", remotes=Remotes(0.5))
        with pytest.raises(FetchError, match="main is being fetched"):
            store.fetch(url, "main", mirror=None)
        assert "it did not finish within the time it has" in after(store, url)
        assert store.fetch(str(sample.fate_llm), "v1.2.0", mirror=None), "it has its turn"
        monkeypatch.setattr("fimg_pipeline.source.store._LEFT_ALONE_SECONDS", 0.0)
        with pytest.raises(FetchError, match=r"is being fetched from .* \(the last time: fatal: it did not finish"):
            store.fetch(url, "main", mirror=None)


def test_warnings_of_a_fetch_that_went_well_are_no_failure(sample: SampleSource, tmp_path: Path) -> None:
    store = ObjectStore.open(tmp_path / "home", remotes=Remotes(10))
    url = str(sample.fate_llm)
    log = store.git_dir / f"fetch-{hashlib.sha256(f'{url} v1.2.0'.encode()).hexdigest()[:16]}.log"
    log.write_text("Warning: Permanently added 'host' to the list of known hosts.\n")
    assert store.fetch(url, "v1.2.0", mirror=None) and not log.exists()


def test_what_was_refused_quickly_is_left_alone_too(sample: SampleSource, tmp_path: Path) -> None:
    store = ObjectStore.open(tmp_path / "home", remotes=Remotes(10))
    for told in ("unable to connect|Connection refused", "it is tried again in a while"):
        with pytest.raises(FetchError, match=told):
            store.fetch("git://127.0.0.1:1/x", "main", mirror=None)


def after(store: ObjectStore, url: str) -> str:
    """What a fetch says once the one that is under way has ended."""
    until = time.monotonic() + 30
    while True:
        with pytest.raises(FetchError) as caught:
            store.fetch(url, "main", mirror=None)
        if "waits for" not in caught.value.message:
            return caught.value.message
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_git_leaves_running_does_not_keep_others_from_fetching(
    sample: SampleSource, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cache of passwords does so for a quarter of an hour."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/git-upload-pack"
    program.write_text('#!/bin/sh\nsleep 30 >/dev/null 2>&1 &\nexec git upload-pack "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("fimg_pipeline.source.store._UPLOAD_PACK", str(program))
    store = ObjectStore.open(tmp_path / "home", remotes=Remotes(10))
    assert store.fetch(str(sample.fate_llm), "v1.2.0", mirror=None) == store.fetch(
        str(sample.fate_llm), "v1.2.0", mirror=None
    )


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
