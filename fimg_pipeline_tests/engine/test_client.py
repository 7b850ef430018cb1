"""The docker client as it is called, and what is kept of what it says."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from fimg_pipeline.engine import client
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.engine.failures import TransientBuildError


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine whose client writes down its arguments, says what apt says, and fails."""
    client = tmp_path / "docker"
    client.write_text(
        f"#!/bin/sh\ncat >/dev/null\necho \"$@\" >'{tmp_path}/arguments'\n"
        "echo '#5 0.3 E: Failed to fetch http://me:s3cret@mirror.example/debian/x  503 Service Unavailable'\nexit 1\n"
    )
    client.chmod(0o755)
    engine = Engine()
    engine.__dict__["cli"] = str(client)
    return engine


def test_no_password_of_a_mirror_is_told(engine: Engine, tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(TransientBuildError) as caught:
        engine.build_archive(
            [b"context"],
            dockerfile="Dockerfile",
            what="a tree",
            platform="linux/amd64",
            options=["--build-arg", "X=1"],
            archive=tmp_path / "out.tar",
            log=lines.append,
        )
    assert lines == ["#5 0.3 E: Failed to fetch http://***@mirror.example/debian/x  503 Service Unavailable"]
    assert "s3cret" not in str(caught.value) and "503 Service Unavailable" in str(caught.value)
    asked = (tmp_path / "arguments").read_text()
    assert f"--output=type=tar,dest={tmp_path}/out.tar" in asked and "--platform=linux/amd64" in asked


def test_processes_are_sent_to_an_engine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert Engine().address == Engine().environment["DOCKER_HOST"] == "unix:///run/mine.sock"
    away = Engine("tcp://builder.example:2376")
    assert (away.address, away.environment["DOCKER_HOST"]) == ("tcp://builder.example:2376",) * 2
    # Certificates are for those by tcp:// alone, whatever the others are asked by.
    assert away.environment["DOCKER_TLS_VERIFY"] == "1"
    assert "DOCKER_TLS_VERIFY" not in Engine("ssh://me@builder.example").environment
    # Where nothing is said the client would take another one for them, or because of its context.
    monkeypatch.delenv("DOCKER_HOST")
    assert Engine().environment["DOCKER_HOST"] == Engine().address == "unix:///var/run/docker.sock"
    assert "DOCKER_TLS_VERIFY" not in Engine().environment
    assert away.disk is None


def test_the_disk_of_an_engine_is_seen_beside_it_and_in_a_container_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def engine_at(folder: Path, holds: Sequence[str] = ()) -> Engine:
        def containers(*, filters: Mapping[str, str], **_: bool) -> list[str]:
            assert filters == {"id": socket.gethostname()}
            return list(holds)

        found = Engine("unix:///run/mine.sock")
        info = {"DockerRootDir": str(folder), "Driver": "overlay2"}
        found.__dict__["sdk"] = SimpleNamespace(info=lambda: info, api=SimpleNamespace(containers=containers))
        return found

    beside, inside = engine_at(tmp_path), tmp_path / "dockerenv"
    assert (beside.disk, beside.sees_our_files) == (tmp_path, True)
    monkeypatch.setattr(client, "_IN_CONTAINER", inside)
    assert engine_at(tmp_path / "none").disk is None
    inside.touch()
    # Of another engine.
    assert engine_at(tmp_path / "none").disk is None
    within = engine_at(tmp_path / "none", ["ours"])
    assert (within.disk, within.sees_our_files) == (Path("/"), False)


def test_an_engine_that_is_away_is_named_by_its_address(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachableError, match=f"no Docker engine answers .unix://{tmp_path}/none.sock"):
        Engine(f"unix://{tmp_path}/none.sock").state()
